"""What `import memvae` offers: models whose answers are known exactly; what does not fit is refused in one line."""

import math

import pytest
import torch

import memvae
from memvae.errors import InputError
from memvae.model.network import MemVAE
from memvae.settings.spec import Network

NETWORK = Network(image=(2, 3), hidden=(5, 4), latent=3, slots=(7, 2))
LOGIT = 0.7


@pytest.fixture
def constant() -> MemVAE:
    """q(z|x) is the prior, and p(x|z) is 1/2 for every pixel; without the first memory its logit is LOGIT."""
    model = MemVAE(NETWORK).requires_grad_(False).use_statistics("collected")
    for parameter in model.parameters():
        parameter.zero_()
    model.memory_of(0).compose.a3 += 1  # h_out = h_m, which is 0 as M is, or 1
    model.output.weight += LOGIT / NETWORK.hidden[0]
    return model


@pytest.mark.parametrize("samples", [1, 3, 1500])
def test_the_log_likelihood_of_a_decoder_that_ignores_z_is_exact_for_every_k(constant: MemVAE, samples: int) -> None:
    x = torch.bernoulli(torch.full((4, NETWORK.pixels), 0.5), generator=torch.manual_seed(1))
    exact = torch.full((4,), -NETWORK.pixels * math.log(2))
    assert torch.allclose(memvae.log_likelihood(constant, x, samples).float(), exact, atol=1e-5)  # float32
    log_on, log_off = math.log(1 / (1 + math.exp(-LOGIT))), math.log(1 / (1 + math.exp(LOGIT)))
    exact = x.sum(1) * log_on + (1 - x).sum(1) * log_off
    assert torch.allclose(memvae.log_likelihood(constant, x.numpy(), samples, disabled=1).float(), exact, atol=1e-5)


def test_completed_pixels_are_the_decoders_mean_and_the_others_stay(constant: MemVAE) -> None:
    constant.output.bias += LOGIT
    x = torch.rand(3, NETWORK.pixels, generator=torch.manual_seed(1))
    missing = torch.tensor([True, False, False] * 2)
    wanted = torch.where(missing, torch.sigmoid(torch.tensor(LOGIT)), x)
    unknown = x.masked_fill(missing, math.nan)  # what stands there is not used
    for mask in (missing, missing.expand_as(x).numpy()):
        assert torch.allclose(memvae.complete(constant, unknown, mask, iterations=2), wanted)


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    model = MemVAE(NETWORK).requires_grad_(False).initialise(torch.manual_seed(0)).use_statistics("collected")
    x = torch.ones(2, NETWORK.pixels)
    for function in (
        lambda seed: memvae.log_likelihood(model, x, 5, seed),
        lambda seed: memvae.complete(model, x, x > 0, 2, seed),
    ):
        assert torch.equal(function(1), function(1)) and not torch.equal(function(1), function(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda model, x: memvae.log_likelihood(model, x.view(4, 2, 3)),
            r"found the shape \[4, 2, 3\], expected \[N, 6\]",
        ),
        (lambda model, x: memvae.log_likelihood(model, x / 2), "found grey pixels"),
        (lambda model, x: memvae.log_likelihood(model, x, 0), "found samples 0"),
        (lambda model, x: memvae.complete(model, x[:, 1:], x[0] > 0), "found the shape"),
        (lambda model, x: memvae.complete(model, x[:1], x[0] > 0), "found 1 images"),
        (lambda model, x: memvae.complete(model, x, x), "found missing of torch.float32"),
        (lambda model, x: memvae.complete(model, 255 * x + 1, x[0] > 2), "found pixels from .* expected 0 to 1"),
        (lambda model, x: memvae.complete(model, x, x[:2] > 0), r"\[2, 6\], expected bool \[4, 6\] or \[6\]"),
    ],
)
def test_what_does_not_fit_is_refused(constant: MemVAE, call, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        call(constant, torch.ones(4, NETWORK.pixels))
    assert "\n" not in str(caught.value)
