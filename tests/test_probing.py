"""Linear classifiers on features, against the reference and numerical differentiation."""

import numpy as np
import pytest
import reference
import torch
import untrained

from memvae.analyses.probing import compute as probing
from memvae.random import keyed

pytestmark = pytest.mark.usefixtures("double")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 on both sides, in another order of summation


def test_features_are_the_last_layer_of_the_recognition_model(monkeypatch):
    monkeypatch.setattr(probing, "ROWS", 7)
    model, x = untrained.random_model("three_layers"), untrained.grey(20)
    expected = reference.encode(reference.parameters_of(model), x.numpy(), reference.statistics_of(model))
    found = probing.features(model, x)
    np.testing.assert_allclose(found, expected["activations"][-1], **CLOSE)
    assert found.shape == (20, 5) and found.min() == 0


def labelled(rows: int, features: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes around random centres, far enough apart to be separated by planes."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, rows)
    centres = 4 * draw.normal(size=(classes, features))
    return torch.from_numpy(centres[labels] + 0.3 * draw.normal(size=(rows, features))), torch.from_numpy(labels)


def test_hinge_gradient_equals_numerical_differentiation():
    h, labels = labelled(50)
    one_hot = torch.nn.functional.one_hot(labels).to(h.dtype)
    weights = torch.randn(6, 4, generator=keyed(4, "weights")) * 0.2  # away from ties and kinks
    found = probing.hinge_gradient(weights, h, labels, one_hot)
    for i, j in np.ndindex(6, 4):
        step = torch.zeros(6, 4)
        step[i, j] = 1e-6
        low, high = (
            reference.crammer_singer((weights + s * step).T.numpy(), h.numpy(), labels.numpy())[0] for s in (-1, 1)
        )
        assert found[i, j].item() == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8)  # rounding: 1e-15 / 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_the_authors_classifier_takes_the_references_steps(steps):
    """Batches of 100 in order and from the first again; the last 30 images fill no batch."""
    h, labels = labelled(330)
    found = probing.crammer_singer(h, labels, steps)
    expected = reference.adagrad(np.zeros((4, 6)), h.numpy(), labels.numpy(), steps)
    np.testing.assert_allclose(found, expected.T, **CLOSE)


def test_the_authors_classifier_separates_what_is_separable():
    h, labels = labelled(400)
    predicted = (h @ probing.crammer_singer(h, labels, 300)).argmax(1)
    assert torch.equal(predicted, labels)


def test_the_authors_classifier_takes_fewer_images_than_its_batch():
    h, labels = labelled(60)
    assert torch.equal((h @ probing.crammer_singer(h, labels, 300)).argmax(1), labels)


def test_the_authors_classifier_minimises_its_objective():
    h, labels = labelled(400)
    h = h + torch.randn(h.shape, generator=keyed(5, "noise")) * 4  # no longer separable
    losses = [
        reference.crammer_singer(probing.crammer_singer(h, labels, steps).T.numpy(), h.numpy(), labels.numpy())[0]
        for steps in (1, 10, 100, 1000)
    ]
    assert losses[0] > losses[1] > losses[2] > losses[3]


def test_linear_svc_chooses_nothing_on_test_images():
    h, labels = (values.numpy() for values in labelled(300))
    h = h + np.random.default_rng(1).normal(size=h.shape) * 3
    test_h = np.random.default_rng(2).normal(size=(50, 6)) * 4
    order = np.random.default_rng(3).permutation(50)
    first, permuted, other = (
        probing.linear_svc(h, labels, test, [0.0001, 0.01, 1.0], 200, 0) for test in (test_h, test_h[order], -test_h)
    )
    for result in (permuted, other):
        assert result.chosen_c == first.chosen_c
        np.testing.assert_array_equal(result.validation_accuracy, first.validation_accuracy)
    np.testing.assert_array_equal(permuted.predicted, first.predicted[order])
    assert first.chosen_c == [0.0001, 0.01, 1.0][np.argmax(first.validation_accuracy)]


def test_linear_svc_chooses_on_the_first_images_and_fits_all():
    h, labels = (values.numpy() for values in labelled(300))
    h = h + np.random.default_rng(1).normal(size=h.shape) * 3
    other = np.where(np.arange(300) < 200, labels, (labels + 1) % 4)
    first, second = (probing.linear_svc(h, known, h, [0.0001, 0.01, 1.0], 200, 0) for known in (labels, other))
    np.testing.assert_array_equal(first.validation_accuracy, second.validation_accuracy)
    assert (first.predicted != second.predicted).any()


def test_linear_svc_learns_what_is_separable():
    h, labels = (values.numpy() for values in labelled(300))
    result = probing.linear_svc(h[:200], labels[:200], h[200:], [0.01, 1.0], 200, 0)
    np.testing.assert_array_equal(result.predicted, labels[200:])


def test_linear_svc_chooses_among_all_classes_where_images_are_sorted_by_class():
    h, labels = (values.numpy() for values in labelled(300))
    order = np.argsort(labels, kind="stable")
    result = probing.linear_svc(h[order], labels[order], h, [0.01, 1.0], 60, 0)
    np.testing.assert_array_equal(result.predicted, labels)
