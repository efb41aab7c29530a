"""The VampPrior: its density, its components, its gradient, its draws, and the likelihood of a model that has it."""

import copy
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import project
import pytest
import reference
import test_training as training
import torch
from scipy import stats
from torch import distributions

from memvae.analyses.likelihood.compute import bound_parts, log_likelihood, log_weights
from memvae.errors import InputError
from memvae.model import device as compute
from memvae.model.densities import gaussian_log_density, mixture_log_density
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.settings import config as configuration
from memvae.settings.spec import Network, RunSpec
from memvae.settings.work import parameters
from memvae.training.objective import draw_noise, objective

SHAPE = Network(image=(3, 4), hidden=(7, 5), latent=2, slots=(4, 3), pseudo_inputs=6)


def vamp(network: Network = SHAPE) -> MemVAE:
    """Random weights; some pixels of the pseudo-inputs are outside [0, 1]."""
    model = reference.randomise(MemVAE(network), keyed(1, "vamp"))
    with torch.no_grad():
        model.pseudo_inputs.u.copy_(torch.rand(6, 12, generator=keyed(1, "u")) * 1.4 - 0.2)
    return model.use_statistics("collected")


def images(rows: int) -> torch.Tensor:
    return (torch.rand(rows, 12, generator=keyed(2, "images")) < 0.5).double()


def mixture(mean: torch.Tensor, log_variance: torch.Tensor) -> distributions.Distribution:
    """torch's own, in float64."""
    components = distributions.Normal(mean.double(), torch.exp(log_variance.double() / 2))
    weights = distributions.Categorical(torch.ones(len(mean), dtype=torch.float64))
    return distributions.MixtureSameFamily(weights, distributions.Independent(components, 1))


# ---- the density -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [1.0, 0.01])
def test_density_of_the_mixture_is_torchs(dtype, width):
    """Also of narrow components, whose multiplied-out squares are a million times the density; far away too."""
    mean, log_variance, z = (
        torch.randn(*shape, 100, generator=keyed(0, name), dtype=dtype)
        for name, shape in (("mean", (50,)), ("variance", (50,)), ("z", (4, 9)))
    )
    log_variance = log_variance + 2 * np.log(width)
    z[0] = mean[:9] + width * z[0]  # near a component, as draws of q(z|x) are
    found = mixture_log_density(z, mean, log_variance)
    assert found.shape == (4, 9) and found.dtype == dtype
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(
        found.double(), mixture(mean, log_variance).log_prob(z.double()), rtol=2 * rounding, atol=1e-8
    )


def test_one_component_at_the_origin_is_the_standard_normal():
    z = torch.randn(7, 3, generator=keyed(0, "z"), dtype=torch.float64)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    torch.testing.assert_close(mixture_log_density(z, zero, zero), gaussian_log_density(z, zero[0], zero[0]))


# ---- components ------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("double")
@torch.no_grad()
def test_components_are_the_posteriors_of_the_clamped_pseudo_inputs():
    """By collected statistics whatever the images are; by batch with the statistics of the images alone."""
    model, x = vamp(), images(9)
    u = model.pseudo_inputs.u.clamp(0, 1).detach()
    of_u = model.encode(u)
    torch.testing.assert_close(model.encode(x).prior, (of_u.mean, of_u.log_variance), rtol=1e-9, atol=1e-11)
    found = model.use_statistics("batch").encode(x)
    frozen = copy.deepcopy(model).use_statistics("collected")
    h = x
    for layer in frozen.encoder:
        h = layer.collect(h)  # sets the statistics to those of the batch
    of_x, of_u = frozen.encode(x), frozen.encode(u)
    for one, expected in ((found.mean, of_x.mean), (found.prior[0], of_u.mean), (found.prior[1], of_u.log_variance)):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-11)
    assert [n.shape for n in found.normalised] == [(9, 7), (9, 5)]


@pytest.mark.usefixtures("double")
def test_pseudo_inputs_change_the_prior_alone():
    """q(z|x), p(x|z) and the local error are those of the model without them."""
    model, x = vamp().use_statistics("batch"), images(9)
    plain = MemVAE(replace(SHAPE, pseudo_inputs=0))
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "pseudo_inputs.u"})
    noise = draw_noise(5, 9, 2, keyed(0, "eps"))
    one, other = (objective(each, x, noise, 0.1) for each in (model, plain))
    torch.testing.assert_close(one.local_error, other.local_error, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(model.encode(x).mean, plain.encode(x).mean, rtol=1e-9, atol=1e-11)
    assert abs((one.bound - other.bound).item()) > 0.01


# ---- gradient --------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("samples", [1, 5])
def test_gradient_of_every_parameter_is_that_of_small_steps(samples):
    """Of the pseudo-inputs inside [0, 1] too; outside it is 0."""
    model, x = vamp().use_statistics("batch"), images(9)
    noise = draw_noise(samples, 9, 2, keyed(0, "eps"))
    objective(model, x, noise, 0.1).loss.backward()
    u = model.pseudo_inputs.u
    inside = (u > 0) & (u < 1)
    assert (u.grad[inside] != 0).float().mean() > 0.5  # of an image whose units are all off it is 0
    assert (u.grad[~inside] == 0).all() and 0 < inside.sum() < inside.numel()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=keyed(0, name))
        values = []
        for step in (1e-6, -1e-6):
            moved = copy.deepcopy(model)
            moved.get_parameter(name).data += step * direction
            values.append(objective(moved, x, noise, 0.1).loss.item())
        expected = (parameter.grad * direction).sum().item()
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(expected, rel=1e-4, abs=1e-6), name


# ---- likelihood and draws --------------------------------------------------------------------------------------------
def exact(model: MemVAE, x: torch.Tensor, prior: distributions.Distribution) -> np.ndarray:
    """log p(x) as a sum over a grid of z in R^2, which holds all of the prior: [N]."""
    axis = torch.linspace(-12, 12, 801)
    z = torch.cartesian_prod(axis, axis)
    log_pz = prior.log_prob(z) + 2 * torch.log(axis[1] - axis[0])
    assert torch.logsumexp(log_pz, 0).item() == pytest.approx(0, abs=1e-6)
    means = model.decode(z)
    return torch.stack([torch.logsumexp(means.log_density(one[None])[:, 0] + log_pz, 0) for one in x]).numpy()


@pytest.mark.usefixtures("double")
@torch.no_grad()
def test_the_estimated_likelihood_is_the_integral_over_the_models_own_prior():
    """Within four standard errors of an importance-weighted mean, which are far less than the prior changes."""
    model, x, samples = vamp(), images(4), 20_000
    prior = mixture(*model.encode(x).prior)
    expected = exact(model, x, prior)
    normal = distributions.Independent(distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    (found,) = log_likelihood(model, x, [samples], (0, "test"))
    w = np.exp(log_weights(model, x, samples, (0, "test")))
    error = w.std(axis=1) / w.mean(axis=1) / np.sqrt(samples)
    assert (np.abs(found - expected) < 4 * error).all() and error.max() < 0.02
    assert (np.abs(exact(model, x, normal) - expected) > 10 * error).all()


@pytest.mark.usefixtures("double")
@torch.no_grad()
def test_the_sampled_kl_is_that_to_the_models_own_prior():
    """KL(q || p) by the grid of torch's densities."""
    model, x = vamp(), images(3)
    q, axis = model.encode(x), torch.linspace(-12, 12, 801)
    z = torch.cartesian_prod(axis, axis)
    log_q = gaussian_log_density(z[:, None], q.mean, q.log_variance)  # [grid, N]
    ratio = log_q - mixture(*q.prior).log_prob(z)[:, None]
    mass = torch.exp(log_q) * (axis[1] - axis[0]) ** 2
    expected, second = (mass * ratio).sum(0), (mass * ratio**2).sum(0)
    found = np.mean([bound_parts(model, x, 500, (seed, "test")).kl for seed in range(20)], axis=0)
    error = torch.sqrt((second - expected**2) / 10_000).numpy()
    assert (np.abs(found - expected.numpy()) < 4 * error).all() and error.max() < 0.05


@torch.no_grad()
def test_with_bf16_products_the_prior_stays_float32():
    """With all weights scored again the likelihood is that of float32: one prior in both passes."""
    model, x = vamp().float(), images(4).float()
    exactly, found = (
        log_likelihood(model, x, [60], (0, "test"), compute.Mode(precision, False))[0]
        for precision in ("float32", "bf16")
    )
    np.testing.assert_allclose(found, exactly, atol=2e-6)


@pytest.mark.usefixtures("double")
def test_draws_from_the_prior_have_its_distribution():
    model = vamp()
    mean, log_variance = model.encode(images(1)).prior
    z = model.sample_prior(20_000, keyed(0, "z")).numpy()
    for dimension in range(2):
        one = mixture(mean[:, [dimension]], log_variance[:, [dimension]])
        cdf = one.component_distribution.base_dist.cdf
        expected = lambda v, cdf=cdf: cdf(torch.from_numpy(v)[:, None, None])[..., 0].mean(1).detach().numpy()  # noqa: E731
        assert stats.kstest(z[:, dimension], expected).pvalue > 1e-3
        assert stats.kstest(z[:, dimension], "norm").pvalue < 1e-6
    moments = mean.T @ mean / len(mean) + torch.diag(torch.exp(log_variance).mean(0))  # E[z z^T]
    np.testing.assert_allclose(z.T @ z / len(z), moments.detach(), atol=0.1)


# ---- configuration ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dataset", ["mnist", "ocr_letters", "frey_faces", "digits"])
def test_it_has_as_many_parameters_as_mem_vae(dataset):
    """As near as it can be: one pseudo-input more or less is further away; all else is the VAE's."""
    config = configuration.load()
    vae, mem_vae, vamp_vae = (config.spec(f"{dataset}-{name}-k1-s0") for name in ("vae", "mem_vae", "vamp_vae"))
    count = vamp_vae.network.pseudo_inputs
    assert replace(vamp_vae.network, pseudo_inputs=0) == vae.network and vamp_vae.training == vae.training
    networks = [replace(vamp_vae.network, pseudo_inputs=count + more) for more in (-1, 0, 1)]
    distances = [abs(parameters(network) - parameters(mem_vae.network)) for network in networks]
    assert distances[1] == min(distances) and count > 1


def test_its_specification_survives_json_and_no_other_has_the_key():
    config = configuration.load()
    for model in ("vae", "mem_vae", "vamp_vae"):
        spec = config.spec(f"mnist-{model}-k1-s0")
        assert RunSpec.from_json(spec.to_json()) == spec
        assert ("pseudo_inputs" in spec.to_json()) == (model == "vamp_vae")


@pytest.mark.parametrize("other", ["mem_vea", "vamp_vae"])
def test_a_model_to_be_as_large_as_is_one_that_states_its_own_size(other):
    with pytest.raises(InputError, match=rf"^models\.mine\.parameters: found '{other}', expected one of vae, "):
        configuration.load(overrides={"models": {"mine": {"title": "mine", "slots": 0, "parameters": other}}})


# ---- training and workflow -------------------------------------------------------------------------------------------
def test_training_resumes_as_if_it_had_never_stopped_and_moves_the_pseudo_inputs(monkeypatch, tmp_path):
    spec = training.spec(replace(training.TWO_LAYERS, slots=(0, 0), pseudo_inputs=5))
    training.resumes_as_if_never_stopped(monkeypatch, tmp_path, spec, training.loop, "_train_epoch", 3)
    trained = training.train(spec, tmp_path / "again.h5").model
    start = MemVAE(spec.network).initialise(keyed(spec.seed, "weights"))
    assert ((trained.pseudo_inputs.u - start.pseudo_inputs.u).abs() > 1e-3).float().mean() > 0.9


def test_it_is_trained_and_evaluated_by_the_workflow_and_named_as_ours(tmp_path: Path):
    """With the paper's models of K = 1 alone, which stand beside it in the extended table."""
    folder = project.make(tmp_path)
    changes = "runs: {extended: [{dataset: mnist, model: vamp_vae, k: 1}]}\nmodels: {vamp_vae: {pseudo_inputs: 4}}"
    result = project.tiny(folder, "results/tiny/tables/likelihood_extended.csv", changes=changes)
    assert result.returncode == 0, result.stderr
    with h5py.File(folder / "results/tiny/models/digits-vamp_vae-k1-s0.h5") as file:
        assert file["weights/pseudo_inputs.u"].shape == (4, 784)
    lines = (folder / "results/tiny/tables/likelihood_extended.md").read_text().splitlines()
    assert any("| VampPrior VAE (ours) |" in line for line in lines)
    assert any("MEM-VAE minus VampPrior VAE (ours)" in line for line in lines)
