"""The model against the paper's equations in numpy, in float64; initialisation; parameter counts.

Float64 against float64: what differs is the order of summation, some 1e-14 of a value, which normalisation divides by
standard deviations of about 0.1. A relative 1e-9 leaves room for that and for nothing else.
"""

import numpy as np
import pytest
import reference
import torch
from scipy import special, stats

from memvae.analyses.parameters.compute import count_parameters
from memvae.errors import InputError
from memvae.model import densities, layers
from memvae.model.layers import Memory, Normalise, normalise
from memvae.model.network import MemVAE, collect_statistics, sample_posterior
from memvae.random import keyed
from memvae.settings.spec import Network
from memvae.training.objective import objective

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
VARIANTS = list(reference.NETWORKS)
WITH_MEMORY = [name for name in VARIANTS if any(reference.NETWORKS[name]["slots"])]
MLP = [name for name in WITH_MEMORY if reference.NETWORKS[name].get("composition", "mlp") == "mlp"]
BATCH, SAMPLES = 9, 4


def network(name: str) -> Network:
    return Network(**reference.NETWORKS[name])


def random_model(name: str, statistics: str = "batch") -> MemVAE:
    """Nothing at its initial value: every parameter and every statistic matters."""
    return reference.randomise(MemVAE(network(name)), keyed(1, name)).use_statistics(statistics)


def images(rows: int = BATCH, pixels: int = 12) -> torch.Tensor:
    return (torch.rand(rows, pixels, generator=keyed(2, "images")) < 0.5).double()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=keyed(3, "noise"))


# ---- densities -------------------------------------------------------------------------------------------------------
def test_gaussian_density_equals_scipy():
    x, mean, log_variance = noise(3, 5, 4)
    expected = stats.norm(mean.numpy(), np.exp(log_variance.numpy() / 2)).logpdf(x.numpy()).sum(-1)
    np.testing.assert_allclose(densities.gaussian_log_density(x, mean, log_variance), expected, **CLOSE)


def test_standard_normal_density_equals_scipy():
    z = 3 * noise(6, 4)
    expected = stats.multivariate_normal(np.zeros(4)).logpdf(z)
    np.testing.assert_allclose(densities.standard_normal_log_density(z), expected, **CLOSE)


def test_bernoulli_density_equals_scipy():
    x, logits = images(), 3 * noise(BATCH, 12)
    expected = stats.bernoulli(special.expit(logits.numpy())).logpmf(x.numpy()).sum(-1)
    np.testing.assert_allclose(densities.bernoulli_log_density(x, logits), expected, **CLOSE)


@pytest.mark.parametrize("x", [0.0, 1.0, 0.3])
def test_clamping_logits_is_clipping_means(x):
    logits = torch.linspace(-40, 40, 161)[:, None]
    pixel = torch.full_like(logits, x)
    expected = reference.log_bernoulli(pixel.numpy(), special.expit(logits.numpy()))
    found = densities.bernoulli_log_density(pixel, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # 1 - 1e-6 holds 1e-6 to 1e-10 in float64
    assert found.min() == pytest.approx(expected.min()) and expected.min() > -14  # unclipped it would fall to -40


def test_no_gradient_flows_where_the_mean_is_clipped():
    logits = torch.tensor([[-14.0], [-13.8], [13.8], [14.0]], requires_grad=True)
    densities.bernoulli_log_density(torch.tensor([[1.0]]), logits).sum().backward()
    assert (logits.grad != 0).flatten().tolist() == [False, True, True, False]


@pytest.mark.parametrize("shift", [0.0, 5000.0, -5000.0])
def test_log_mean_exp_neither_overflows_nor_loses_digits(shift):
    log_w = noise(50, 3) + shift
    expected = special.logsumexp(log_w, axis=0) - np.log(50)
    np.testing.assert_allclose(densities.log_mean_exp(log_w), expected, rtol=1e-14)


# ---- networks against the reference ----------------------------------------------------------------------------------
@pytest.mark.parametrize("statistics", ["batch", "collected"])
@pytest.mark.parametrize("name", VARIANTS)
def test_recognition_equals_the_reference(name, statistics):
    model, x = random_model(name, statistics), images()
    own = reference.statistics_of(model) if statistics == "collected" else None
    expected = reference.encode(reference.parameters_of(model), x.numpy(), own)
    found = model.encode(x)
    np.testing.assert_allclose(found.mean.detach(), expected["mean"], **CLOSE)
    np.testing.assert_allclose(found.log_variance.detach(), expected["log_variance"], **CLOSE)
    for mine, other in zip(found.normalised, expected["normalised"], strict=True):
        np.testing.assert_allclose(mine.detach(), other, **CLOSE)
    for mine, other in zip(found.hidden, expected["activations"], strict=True):
        np.testing.assert_allclose(mine.detach(), other, **CLOSE)


@pytest.mark.parametrize("disabled", [0, 1, 3])
@pytest.mark.parametrize("statistics", ["batch", "collected"])
@pytest.mark.parametrize("name", VARIANTS)
def test_generation_equals_the_reference(name, statistics, disabled):
    """Also with the memories of the layers next to the data disabled: h_m is ones there."""
    model, z, x = random_model(name, statistics), noise(SAMPLES, BATCH, 3), images()
    depth = len(model.decoder)
    own = reference.statistics_of(model) if statistics == "collected" else None
    ones_in = range(depth - min(disabled, depth), depth)  # the reference counts from z
    expected = reference.decode(reference.parameters_of(model), z.numpy(), own, disabled=ones_in)
    found = model.decode(z.flatten(0, 1), disabled)
    np.testing.assert_allclose(
        found.mean.detach().view(SAMPLES, BATCH, -1), expected["output"]["mean"], **CLOSE, err_msg="mean"
    )
    pixels = reference.log_likelihood_of_pixels(x.numpy(), expected["output"])
    np.testing.assert_allclose(found.log_density(x).detach(), pixels, **CLOSE)
    for mine, other in zip(found.hidden, reversed(expected["outputs"]), strict=True):
        np.testing.assert_allclose(mine.detach().view(SAMPLES, BATCH, -1), other, **CLOSE)


def test_statistics_of_the_decoder_run_over_batch_and_samples():
    model, z = random_model("mem_vae"), noise(SAMPLES, BATCH, 3)
    together = model.decode(z.flatten(0, 1)).mean.view(SAMPLES, BATCH, -1)
    apart = torch.stack([model.decode(sample).mean for sample in z])
    assert (together - apart).abs().max() > 1e-3


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_generative_information_and_preferences_equal_the_reference(name):
    model, z = random_model(name, "collected"), noise(BATCH, 3)
    expected = reference.decode(reference.parameters_of(model), z.numpy(), reference.statistics_of(model))
    found = model.generative_information(z)
    assert sorted(found) == [level for level, slots in enumerate(model.network.slots) if slots]
    for level, h_g in found.items():
        h_a = model.memory_of(level).preferences(h_g)
        np.testing.assert_allclose(h_a.detach(), expected["attentions"][-1 - level], **CLOSE)


def test_softmax_preferences_sum_to_one_and_sigmoid_ones_do_not():
    h_g = noise(BATCH, 6).relu()
    for attention, sums_to_one in (("softmax", True), ("sigmoid", False)):
        memory = reference.randomise(Memory(6, 4, attention, "mlp"), keyed(4, "memory"))
        assert torch.allclose(memory.preferences(h_g).sum(1), torch.ones(BATCH)) == sums_to_one


@pytest.mark.parametrize("name", ["mem_vae", "vis_mem_vae", "one_memory", "gaussian_memory"])
def test_slot_images_equal_the_reference(name):
    model = random_model(name)
    expected = reference.slot_images(reference.parameters_of(model), np.arange(4))
    np.testing.assert_allclose(model.slot_means().detach(), expected, **CLOSE)


def test_a_slot_of_vis_mem_vae_is_rendered_as_relu_of_itself():
    model = random_model("vis_mem_vae")
    expected = torch.sigmoid(model.output(model.memory_of(0).M.relu()))
    torch.testing.assert_close(model.slot_means(), expected)


@pytest.mark.parametrize("level", [1, 2])
def test_a_slot_further_from_the_data_is_what_is_drawn_where_it_alone_is_read(level):
    model = random_model("three_layers", "collected")
    memory = model.memory_of(level)
    memory.attention = layers.ATTENTIONS["softmax"]
    with torch.no_grad():
        for parameter in (model.decoder[level].gamma, model.decoder[level].beta, memory.C, memory.c):
            parameter.zero_()  # h_g = 0, and no image prefers any slot
        memory.c[1] = 1000.0  # but all slot 1
    expected = model.decode(noise(BATCH, 3)).mean
    torch.testing.assert_close(model.slot_means(level)[1].expand(BATCH, -1), expected)


@pytest.mark.parametrize(("slots", "level"), [((0, 4), 0), ((4, 0), 1)])
def test_slot_images_of_a_layer_without_memory_are_refused(slots, level):
    model = MemVAE(Network((3, 4), (7, 5), 3, slots))
    with pytest.raises(InputError, match="no memory"):
        model.slot_means(level)


def test_posterior_samples_have_its_mean_and_variance():
    model = random_model("mem_vae")
    posterior = model.encode(images())
    z = sample_posterior(posterior, noise(SAMPLES, BATCH, 3))
    expected = reference.sample_posterior(
        posterior.mean.detach().numpy(), posterior.log_variance.detach().numpy(), noise(SAMPLES, BATCH, 3).numpy()
    )
    np.testing.assert_allclose(z.detach(), expected, **CLOSE)


# ---- normalisation ---------------------------------------------------------------------------------------------------
def test_batch_variance_is_the_biased_one():
    a = noise(5, 3)
    np.testing.assert_allclose(normalise(a), (a - a.mean(0)) / a.std(0, correction=0), rtol=1e-8)
    np.testing.assert_allclose(normalise(a).square().mean(0), np.ones(3), rtol=1e-8)


def test_normalisation_adds_1e_10_to_the_variance():
    """A unit whose standard deviation is 1e-5 comes out at 1 / sqrt 2."""
    a = torch.tensor([[1e-5], [-1e-5]])
    np.testing.assert_allclose(normalise(a).flatten(), [0.5**0.5, -(0.5**0.5)], rtol=1e-12)


@pytest.mark.parametrize("name", ["vae", "mem_vae", "three_layers", "gaussian_memory"])
@pytest.mark.parametrize("chunk", [37, 500])  # rows at a time between two layers
def test_collected_statistics_are_those_of_the_whole_set_layer_by_layer(monkeypatch, name, chunk):
    monkeypatch.setattr(layers, "CHUNK", chunk)
    model, x = random_model(name), images(rows=200)
    collect_statistics(model, x, keyed(5, "collect"))
    eps = torch.randn(200, 3, generator=keyed(5, "collect")).numpy()[None]
    expected = reference.collected_statistics(reference.parameters_of(model), x.numpy(), eps)
    found = reference.statistics_of(model)
    for side in ("encoder", "decoder"):
        for mine, other in zip(found[side], expected[side], strict=True):
            np.testing.assert_allclose(mine, other, **CLOSE)


def test_collecting_leaves_the_model_in_collected_statistics():
    model, x = random_model("mem_vae"), images(rows=50)
    collect_statistics(model, x, keyed(5, "collect"))
    assert {module.statistics for module in model.modules() if isinstance(module, Normalise)} == {"collected"}
    torch.testing.assert_close(model.encode(x[:3]).mean, model.encode(x).mean[:3])  # each image on its own


# ---- parameters and initialisation -----------------------------------------------------------------------------------
MNIST = {"image": (28, 28), "hidden": (500, 500), "latent": 100, "slots": (70, 30)}
OCR = {"image": (16, 8), "hidden": (200, 200), "latent": 50, "slots": (70, 30)}
FREY = {"image": (28, 20), "hidden": (200,), "latent": 10, "slots": (20,), "likelihood": "gaussian"}
VIS = {"attention": "softmax", "composition": "sum"}


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        (MNIST | {"slots": (0, 0)}, 1_440_984),
        (MNIST | {"slots": (0, 0), "hidden": (530, 530)}, 1_559_184),
        (MNIST, 1_550_084),
        (MNIST | VIS, 1_541_084),
        (OCR | {"slots": (0, 0)}, 163_828),
        (OCR, 207_528),
        (FREY | {"slots": (0,)}, 344_340),
        (FREY, 354_160),
    ],
)
def test_parameter_counts_are_exactly_the_papers(fields, count):
    assert count_parameters(Network(**fields)) == count
    assert sum(p.numel() for p in MemVAE(Network(**fields)).parameters() if p.requires_grad) == count


@pytest.fixture(scope="module")
def fresh() -> MemVAE:
    return MemVAE(Network((10, 10), (80, 60), 20, (50, 40))).float().initialise(keyed(6, "weights"))


def test_every_w_and_c_is_glorot_uniform(fresh):
    found = [p for name, p in fresh.named_parameters() if name.endswith((".weight", ".C"))]
    assert len(found) == 4 + 2 + 1 + 2
    for parameter in found:
        bound = (6 / sum(parameter.shape)) ** 0.5
        values = parameter.detach().numpy().ravel()
        # the seed is fixed, so this either always or never passes; a normal of the same spread gives p < 1e-10
        assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
        assert abs(values).max() <= bound


def test_memory_slots_start_normal_with_standard_deviation_0_01(fresh):
    for level in (0, 1):
        values = fresh.memory_of(level).M.detach().numpy().ravel()
        assert stats.kstest(values, stats.norm(0, 0.01).cdf).pvalue > 1e-3
        assert values.std() == pytest.approx(0.01, rel=4 / (2 * values.size) ** 0.5)  # four standard errors


@pytest.mark.parametrize(
    ("ending", "value"),
    [
        (("bias", ".c", "beta"), 0.0),
        (("gamma", "a2", "c2"), 1.0),
        (("a1", "a3", "a4", "b1", "c1", "c3", "c4"), 0.0),
    ],
)
def test_biases_are_0_gamma_1_and_the_composition_passes_h_g_on(fresh, ending, value):
    found = [p for name, p in fresh.named_parameters() if name.endswith(ending)]
    assert found and all((p == value).all() for p in found)


def test_every_parameter_has_a_stated_start(fresh):
    """So that the tests above leave none out."""
    endings = (".weight", ".C", ".M", "bias", ".c", "beta", "gamma", *reference.COMPOSITION)
    assert all(name.endswith(endings) for name, _ in fresh.named_parameters())


def test_initialisation_depends_on_the_generator_alone():
    first, again, other = (MemVAE(network("mem_vae")).initialise(keyed(seed, "weights")) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.output.weight, other.output.weight)


@pytest.mark.parametrize("name", MLP)
@pytest.mark.parametrize("statistics", ["batch", "collected"])
def test_at_the_start_the_memory_has_no_effect_at_all(name, statistics):
    """Bit for bit the images of the network without memory that has the same weights."""
    model = MemVAE(network(name)).initialise(keyed(7, "weights"))
    plain = MemVAE(Network(**reference.NETWORKS[name] | {"slots": (0,) * len(model.network.hidden)}))
    weights = model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    z = noise(BATCH, 3)
    found, expected = (m.use_statistics(statistics).decode(z) for m in (model, plain))
    assert torch.equal(found.out, expected.out)


@pytest.mark.parametrize("name", MLP)
def test_in_the_first_step_slots_and_attention_get_no_gradient(name):
    model, x = MemVAE(network(name)).initialise(keyed(7, "weights")), images()
    objective(model, x, noise(SAMPLES, BATCH, 3), weight=0.1).loss.backward()
    for level in model.memory:
        memory = model.memory_of(int(level))
        for parameter in (memory.M, memory.C, memory.c):
            assert (parameter.grad == 0).all()
        assert (memory.compose.a3.grad != 0).any()  # through which they get theirs from the second step on
