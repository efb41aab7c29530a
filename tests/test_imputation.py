"""Completed images, and the classifier that judges them."""

import numpy as np
import pytest
import reference
import torch
import untrained
from sklearn import datasets

from memvae.analyses.imputation import classifier
from memvae.analyses.imputation import compute as imputation
from memvae.model import device as compute
from memvae.model.layers import Normalise
from memvae.random import keyed

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 on both sides, in another order of summation


def corrupted(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    missing = torch.rand(rows, untrained.PIXELS, generator=keyed(3, "missing")) < 0.5
    return untrained.grey(rows), missing, torch.rand(rows, untrained.PIXELS, generator=keyed(3, "start"))


@pytest.mark.parametrize("name", ["vae", "mem_vae", "vis_mem_vae", "gaussian_memory"])
def test_imputation_equals_the_reference(name):
    """In batches of 10 of 20 images, each normalised by its own statistics."""
    model, (x, missing, start), key = untrained.random_model(name), corrupted(20), (0, "test")
    completed, errors = imputation.impute(model, x, missing, start, 5, 10, key)
    expected, squared = [], np.zeros(5)
    for begin in (0, 10):
        rows = slice(begin, begin + 10)
        noise = [torch.randn(10, untrained.LATENT, generator=keyed(*key, i, begin)).numpy() for i in range(5)]
        arrays = (x[rows].numpy(), missing[rows].numpy(), start[rows].numpy())
        found, error = reference.impute(reference.parameters_of(model), *arrays, noise)
        expected.append(found[-1])
        squared += np.array(error) * missing[rows].sum().item()
    np.testing.assert_allclose(completed, np.concatenate(expected), **CLOSE)
    np.testing.assert_allclose(errors, squared / missing.sum().item(), **CLOSE)


def test_observed_pixels_never_change_and_missing_ones_do():
    x, missing, start = corrupted(20)
    before = x.clone()
    completed, _ = imputation.impute(untrained.random_model("mem_vae"), x, missing, start, 3, 20, (0, "test"))
    assert torch.equal(completed[~missing], x[~missing]) and torch.equal(x, before)
    assert (completed[missing] != start[missing]).all()


def test_imputation_uses_the_statistics_of_the_batch_and_leaves_the_collected_ones():
    """A model whose collected statistics are nonsense completes the same."""
    model, (x, missing, start) = untrained.random_model("mem_vae"), corrupted(20)
    expected, _ = imputation.impute(model, x, missing, start, 2, 20, (0, "test"))
    own = reference.statistics_of(model)
    for module in model.modules():
        if isinstance(module, Normalise):
            module.mean.fill_(1e6)
    completed, _ = imputation.impute(model, x, missing, start, 2, 20, (0, "test"))
    assert torch.equal(completed, expected) and untrained.statistics(model) == {"collected"}
    assert (reference.statistics_of(model)["encoder"][0][0] == 1e6).all() and (own["encoder"][0][0] != 1e6).all()


def test_images_of_another_batch_do_not_change_a_completion():
    model, (x, missing, start) = untrained.random_model("mem_vae"), corrupted(20)
    expected, _ = imputation.impute(model, x, missing, start, 2, 10, (0, "test"))
    other, _ = imputation.impute(model, torch.cat([x[:10], 1 - x[10:]]), missing, start, 2, 10, (0, "test"))
    assert torch.equal(other[:10], expected[:10]) and not torch.equal(other[10:], expected[10:])


def test_a_last_image_alone_joins_the_batch_before():
    """It has no statistics of its own: 11 images in batches of 10 are one batch."""
    x, missing, start = corrupted(11)
    model = untrained.random_model("mem_vae")
    found, error = imputation.impute(model, x, missing, start, 2, 10, (0, "test"))
    expected, whole = imputation.impute(model, x, missing, start, 2, 11, (0, "test"))
    assert torch.equal(found, expected)
    np.testing.assert_array_equal(error, whole)


def test_imputation_with_bf16_products_differs_by_their_rounding():
    torch.set_default_dtype(torch.float32)
    model, x = untrained.float32_model("mem_vae"), untrained.grey(40).float()
    missing = torch.rand(40, untrained.PIXELS, generator=keyed(0, "missing")) < 0.5
    modes = (compute.PLAIN, compute.Mode("bf16", False))
    found = [imputation.impute(model, x, missing, x.flip(0), 1, 20, (0, "test"), mode)[0] for mode in modes]
    assert 0 < (found[0] - found[1]).abs().max() < 0.05
    assert torch.equal(found[0][~missing], found[1][~missing])


# ---- the judge -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = datasets.load_digits()
    return torch.from_numpy(found.data / 16).float(), torch.from_numpy(found.target).long()


def test_the_classifier_learns_digits(digits):
    torch.set_default_dtype(torch.float32)
    x, labels = digits
    model = classifier.train_classifier(x[:1200], labels[:1200], (8, 8), 4, seed=0)
    assert (model.predict(x[1200:]) == labels[1200:].numpy()).mean() > 0.6  # chance is 0.1


def test_the_classifier_learns_from_fewer_images_than_its_batch(digits):
    torch.set_default_dtype(torch.float32)
    few = digits[1] < 2
    x, labels = digits[0][few][:60], digits[1][few][:60]
    model = classifier.train_classifier(x, labels, (8, 8), 30, seed=0)
    assert (model.predict(x) == labels.numpy()).mean() > 0.8  # chance is 0.5


def test_the_classifier_depends_on_the_seed_alone(digits):
    torch.set_default_dtype(torch.float32)
    first, again, other = (
        classifier.train_classifier(digits[0][:200], digits[1][:200], (8, 8), 1, s) for s in (0, 0, 1)
    )
    assert torch.equal(first.dense.weight, again.dense.weight)
    assert not torch.equal(first.dense.weight, other.dense.weight)


def test_a_prediction_does_not_depend_on_the_other_images(digits):
    torch.set_default_dtype(torch.float32)
    x, labels = digits
    model = classifier.train_classifier(x[:200], labels[:200], (8, 8), 1, seed=0)
    np.testing.assert_array_equal(model.predict(x[50:60]), model.predict(x)[50:60])
