"""What the memory encodes: order of slots, similarity of classes and replaced read-outs where the answer is known."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
import untrained
from scipy.stats import spearmanr

from memvae.analyses.encoding import ANALYSIS, READ_OUTS, conditions
from memvae.analyses.encoding import compute as encoding
from memvae.analyses.encoding.figures import _weights, ordered
from memvae.analyses.encoding.show import FIGURES, findings, measure, table
from memvae.analyses.likelihood import compute as likelihood
from memvae.analyses.slots.numbers import preferred
from memvae.model.network import MemVAE
from memvae.random import keyed
from memvae.report import render, style
from memvae.report.paper import read_paper
from memvae.report.statistics import mantel
from memvae.report.table import as_csv, as_latex, as_markdown
from memvae.report.view import View

PAPER = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")
pytestmark = pytest.mark.filterwarnings("error")


# ---- order and similarity --------------------------------------------------------------------------------------------
def test_slots_stand_by_class_then_by_strength_and_those_that_none_prefers_last():
    preferences = np.array([[0.1, 0.01, 0.5, 0.4, 0.0, 0.4], [0.36, 0.33, 0.1, 0.1, 0.4, 0.1]])
    assert ordered(preferences).tolist() == [2, 3, 5, 4, 0, 1]  # equal ones stay in their order


def test_no_slot_is_preferred_where_all_are_alike_whatever_their_number():
    for slots in (4, 30, 70, 300):
        assert not preferred(np.full((10, slots), 1 / slots)).any() and preferred(np.eye(10, slots)).sum() == min(
            10, slots
        )


def symmetric(rng: np.random.Generator, classes: int = 10) -> np.ndarray:
    matrix = rng.normal(size=(classes, classes))
    return matrix + matrix.T


def test_the_rank_correlation_of_matrices_is_spearmans_over_their_pairs():
    rng = np.random.default_rng(0)
    a, b = symmetric(rng), symmetric(rng).round()  # with equal values
    first, second = np.triu_indices(10, 1)
    assert mantel(a, b, 10)[0] == pytest.approx(spearmanr(a[first, second], b[first, second]).statistic)


def test_p_of_the_same_order_of_the_opposite_one_and_of_none():
    a = symmetric(np.random.default_rng(0))
    assert mantel(a, np.exp(a)) == (pytest.approx(1), pytest.approx(1 / 10_001))  # no random order is the same
    assert mantel(a, -a) == (pytest.approx(-1), 1)
    assert mantel(a, np.ones((10, 10))) == (0, 1)


def test_p_is_the_share_of_all_orders_of_few_classes():
    rng = np.random.default_rng(3)
    a, b = symmetric(rng, 5), symmetric(rng, 5)
    first, second = np.triu_indices(5, 1)
    found, p = mantel(a, b)
    ranks = [
        spearmanr(a[first, second], b[np.ix_(order, order)][first, second]).statistic
        for order in map(list, permutations(range(5)))
    ]
    share = np.mean(np.array(ranks) >= found - 1e-9)
    assert 0.05 < share < 0.95
    assert p == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 10_000))


def test_the_test_of_unrelated_classes_finds_as_many_as_it_should():
    """Each class has a level of its own, which all its pairs share: 45 pairs are by far not independent."""
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        a, b = (np.add.outer(level, level) for level in rng.normal(size=(2, 10)))
        found.append(mantel(a, b, 200)[1] <= 0.1)
    assert np.mean(found) == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 300))


def test_ink_does_not_depend_on_brightness_and_an_empty_image_has_none():
    pixels = np.array([[1, 1, 0, 0], [0.25, 0.75, 0, 0], [0, 0, 0, 0], [0, 0, 0.5, 0.5]], dtype=np.float32)
    found = encoding.ink_by_class(pixels, np.array([3, 3, 5, 5]))
    np.testing.assert_allclose(found, [[0.375, 0.625, 0, 0], [0, 0, 0.25, 0.25]])
    np.testing.assert_allclose(encoding.ink_by_class(0.5 * pixels, np.array([3, 3, 5, 5])), found)


# ---- replaced read-outs ----------------------------------------------------------------------------------------------
SAMPLES, DRAWS, SEED = 20, 3, 4


def likelihoods(model: MemVAE, x: torch.Tensor) -> dict[str, np.ndarray]:
    means = encoding.mean_read_outs(model, untrained.images(50).float(), keyed(SEED, "encoding"))
    return encoding.likelihoods(model, x, len(x) - 1, SAMPLES, DRAWS, SEED, means)


@pytest.mark.parametrize("name", untrained.WITH_MEMORY)
def test_ones_are_the_disabled_memory_and_the_model_stays_as_it_is(name):
    model, x = untrained.float32_model(name), untrained.images(6).float()
    arrays = likelihoods(model, x)
    keys = (SEED, "log-likelihood of test images"), (SEED, "bound of test images")
    levels = sorted(map(int, model.memory))
    for place, disabled in {"kept": 0, "layer0/ones": 1, "all/ones": len(model.network.hidden)}.items():
        if place.startswith("all") and len(levels) == 1:
            assert "all/ones" not in {name.partition("/")[2] for name in arrays}
            continue
        (expected,) = likelihood.log_likelihood(model, x[:5], [SAMPLES], keys[0], disabled=disabled)
        np.testing.assert_array_equal(arrays[f"log_likelihood/{place}"], expected)
        parts = likelihood.bound_parts(model, x, DRAWS, keys[1], disabled)
        np.testing.assert_array_equal(arrays[f"bound/{place}"], parts.bound)
    assert len(arrays) == 2 * conditions(model.network)


def test_the_mean_of_a_constant_read_out_changes_nothing():
    model = untrained.float32_model("mem_vae")
    with torch.no_grad():
        for memory in model.memory.values():
            memory.C.zero_()  # every image prefers the slots alike: h_a = sigmoid(c)
    means = encoding.mean_read_outs(model, untrained.images(50).float(), keyed(SEED, "encoding"))
    for level, mean in means.items():
        memory = model.memory_of(level)
        torch.testing.assert_close(mean, torch.sigmoid(memory.c) @ memory.M)
    arrays = likelihoods(model, untrained.images(6).float())
    for quantity in ("log_likelihood", "bound"):
        for place in ("layer0", "layer1", "all"):
            kept = arrays[f"{quantity}/kept"]
            np.testing.assert_allclose(arrays[f"{quantity}/{place}/mean"], kept, rtol=1e-5)
            assert not np.allclose(arrays[f"{quantity}/{place}/zeros"], kept, rtol=1e-3)


def test_the_mean_read_out_is_the_mean_over_images():
    model, x = untrained.float32_model("vis_mem_vae"), untrained.images(2500).float()  # more than are read at a time
    z = torch.randn(len(x), 3, generator=keyed(SEED, "encoding"))
    posterior = model.encode(x)
    h_g = model.generative_information(posterior.mean + torch.exp(posterior.log_variance / 2) * z)
    for level, mean in encoding.mean_read_outs(model, x, keyed(SEED, "encoding")).items():
        memory = model.memory_of(level)
        torch.testing.assert_close(mean, (memory.preferences(h_g[level]) @ memory.M).mean(0), rtol=1e-4, atol=1e-5)


def test_vis_mem_vae_with_zeros_read_out_is_a_vae():
    model, x = untrained.float32_model("vis_mem_vae"), untrained.images(6).float()
    vae = untrained.float32_model("vae")
    vae.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("memory")})
    (expected,) = likelihood.log_likelihood(vae, x[:5], [SAMPLES], (SEED, "log-likelihood of test images"))
    np.testing.assert_allclose(likelihoods(model, x)["log_likelihood/all/zeros"], expected, rtol=1e-6)


# ---- what is shown ---------------------------------------------------------------------------------------------------
def preferences(classes: int = 10) -> dict[str, np.ndarray]:
    """Layer 0: classes 4, 7, 9 share slots, and so do 3, 5, 8, as in the authors' file; layer 1: a slot per class."""
    rng = np.random.default_rng(0)
    alike = {9: 7, 4: 7, 5: 3, 8: 3}
    base = np.eye(classes)[[alike.get(one, one) for one in range(classes)]]
    shared = base + 0.3 * np.eye(classes) + 0.01 * rng.random((classes, classes))
    return {name: values / values.sum(1, keepdims=True) for name, values in (("layer0", shared), ("layer1", base))}


def arrays_of(values: dict[str, np.ndarray], pixels: np.ndarray | None = None) -> dict[str, np.ndarray]:
    classes = len(next(iter(values.values())))
    rng = np.random.default_rng(1)
    arrays: dict[str, np.ndarray] = {"classes": np.arange(classes)}
    arrays["pixels/correlation"] = np.corrcoef(rng.random((classes, 50))) if pixels is None else pixels
    for layer, of_layer in values.items():
        with np.errstate(invalid="ignore"):
            arrays[f"{layer}/correlation"] = np.atleast_2d(np.corrcoef(of_layer))
        arrays[f"{layer}/preferences"] = of_layer
        count = of_layer.shape[1]
        shades = np.arange(count, dtype=np.float32) / count  # a slot's image is as bright as its number
        arrays[f"{layer}/images"] = np.tile(shades[:, None], synthetic.PIXELS)
    places = [*values, *(["all"] if len(values) > 1 else [])]
    for quantity, images in (("log_likelihood", 2), ("bound", 3)):
        kept = -80.0 - np.arange(images)
        arrays[f"{quantity}/kept"] = kept
        for place in places:
            for loss, read_out in enumerate(READ_OUTS, start=1):
                arrays[f"{quantity}/{place}/{read_out}"] = kept - loss * (1 + np.arange(images))
    return arrays


def view(folder: Path, *models: str, here: str = "mnist", seeds: int = 1, **file: Any) -> View:
    rows = [synthetic.row(model, here=here, seeds=seeds) for model in models or ("vis_mem_vae",)]
    arrays = arrays_of(file.pop("values", None) or preferences(), **file)
    settings = {"samples": 50, "images": 2, "bound_draws": 10}
    files = [
        synthetic.write(folder, run, "analysis/encoding", arrays, settings, images=40)
        for row in rows
        for run in row["runs"]
    ]
    part = {"analysis": "encoding", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    return render.view(part, PAPER)


def test_changes_are_paired_over_images(tmp_path):
    numbers = {(one.quantity, one.condition): one for one in measure(view(tmp_path))}
    one = numbers["change", "memory layer0/zeros"]
    assert (one.mean, one.error, one.n) == (pytest.approx(-3), pytest.approx(1), 2)
    assert numbers["bound_change", "memory all/mean"].mean == pytest.approx(-6)
    assert numbers["log_likelihood", "memory kept"].mean == pytest.approx(-80.5)
    assert ("change", "memory kept") not in numbers
    alike, changes = findings(view(tmp_path))
    assert "the authors' layer next to the data +" in alike and "(p 0.000" in alike
    assert changes.startswith("VIS-MEM-VAE: with ones in place of the read-out the log-likelihood changes by")


def test_classes_that_are_alike_as_in_the_authors_file_are_found_and_others_are_not(tmp_path):
    found = view(tmp_path)
    numbers = {one.condition: one for one in measure(found) if one.quantity in ("p",)}
    assert numbers["classes by authors and layer0"].mean < 0.001
    assert numbers["classes by authors and pixels"].mean > 0.05  # unrelated pixels
    assert numbers["classes by layer0 and layer1"].n == 45
    assert "classes by authors and layer1" not in numbers  # the authors' are of the layer next to the data
    shown = as_markdown(table(found))
    assert "7-9 0.91, 4-9 0.69, 4-7 0.65, 3-5 0.58, 5-8 0.47, 3-8 0.42" in shown


@pytest.mark.parametrize(("model", "here"), [("mem_vae", "mnist"), ("vis_mem_vae", "digits")])
def test_the_authors_similarities_stand_beside_their_model_on_their_data_alone(tmp_path, model, here):
    found = view(tmp_path, model, here=here)
    assert not [one for one in measure(found) if "authors" in one.condition]
    assert "authors' similarities" not in as_markdown(table(found))


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_few_classes_have_no_order_of_pairs_and_are_drawn(tmp_path, classes):
    values = {"layer0": np.random.default_rng(0).dirichlet(np.ones(7), size=classes)}
    found = view(tmp_path, values=values, pixels=np.eye(classes))
    assert not [one for one in measure(found) if one.quantity == "p"]
    drawn(found, tmp_path)
    assert as_csv(table(found).records)


def test_a_memory_that_gives_all_classes_one_slot_orders_nothing(tmp_path):
    """Correlations that differ in their tenth decimal: no rank correlation, and no most similar classes."""
    values = preferences()
    values["layer0"] = np.tile(np.eye(1, values["layer0"].shape[1]), (10, 1)) + 1e-6 * values["layer0"]
    found = view(tmp_path, values=values)
    assert not [one for one in measure(found) if one.quantity == "p" and "layer0" in one.condition]
    assert "all alike, 1.00" in as_markdown(table(found))


def test_a_class_that_prefers_all_slots_alike_has_no_correlation_and_the_rest_is_shown(tmp_path):
    values = preferences()
    values["layer0"][2] = 0.1
    found = view(tmp_path, values=values)
    conditions = [one.condition for one in measure(found) if one.quantity == "class correlation"]
    assert "layer0 0-1" in conditions and "layer0 0-2" not in conditions and "layer1 0-2" in conditions
    compared = [one.condition for one in measure(found) if one.quantity == "p"]
    assert "classes by pixels and layer1" in compared and "classes by pixels and layer0" not in compared
    drawn(found, tmp_path)
    assert "nan" not in as_csv(table(found).records) + as_markdown(table(found)) + as_latex(table(found))


def drawn(found: View, folder: Path) -> dict[str, Any]:
    figures = {}
    with style.paper():
        for name, make in FIGURES.items():
            figures[name] = make(found)
            style.save(figures[name], folder / f"{name}.png")
    return figures


def test_the_figures_show_every_model_and_slot_in_order(tmp_path):
    figures = drawn(view(tmp_path, "mem_vae", "vis_mem_vae", seeds=2), tmp_path)
    assert set(figures) == set(ANALYSIS.figures)
    values = preferences()
    heat = [axes for axes in figures["preferences"].axes if axes.images]
    assert len(heat) == 4  # two models, two layers
    for axes, layer in zip(heat, ("layer0", "layer1") * 2, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), values[layer][:, ordered(values[layer])])
    matrices = [axes for axes in figures["class_graph"].axes if axes.images]
    assert len(matrices) == 5  # raw pixels, and a layer each
    lines = [axes for axes in figures["atlas"].axes if axes.images]
    shades = [image.get_array()[0, 0] for image in lines[0].images]
    np.testing.assert_allclose(shades, ordered(values["layer0"]) / 10, atol=1e-6)
    words = [one.get_text() for one in lines[0].texts]
    assert words[0] == f"0: {values['layer0'][0, 0]:.3f}" and len(words) == 10


def test_classes_that_are_alike_stand_together_in_the_graph(tmp_path):
    figure = drawn(view(tmp_path), tmp_path)["class_graph"]
    graphs = [axes for axes in figure.axes if not axes.images]
    places = {one.get_text(): np.array(one.get_position()) for one in graphs[1].texts}  # of layer 0
    together = [np.linalg.norm(places[a] - places[b]) for a, b in ("79", "49", "47", "35", "58", "38")]
    apart = [np.linalg.norm(places[a] - places[b]) for a in "479" for b in "358"]
    assert max(together) < min(apart)
    for axes in graphs:  # also of the classes that no edge joins to others
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        at = [one.get_position() for one in axes.texts]
        assert len(at) == 10 and all(left < x < right and low < y < high for x, y in at)


def test_weights_of_edges_run_from_the_smallest_correlation_to_the_largest():
    matrix = np.array([[1, 0.2, -0.1], [0.2, 1, 0.5], [-0.1, 0.5, 1]])
    weights, words = _weights(matrix)
    np.testing.assert_allclose(weights[np.triu_indices(3, 1)], [0.5, 0, 1])
    assert words == "white -0.10, black 0.50"
    nearly = _weights(1 - 1e-6 * matrix)  # differences that nobody should read
    assert not nearly[0].any() and nearly[1] == "all 1.00" and _weights(np.eye(1))[1] == "no correlations"
