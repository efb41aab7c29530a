"""Linear SVM probing of the recognition model's features: the authors' classifier, and scikit-learn's LinearSVC."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memvae.analyses.job import Job
from memvae.model.network import MemVAE
from memvae.progress import Progress

ROWS = 1000  # images at a time
BATCH, RATE, EPSILON, WEIGHT_DECAY = 100, 0.1, 1e-4, 1e-4  # the authors' code


def compute(job: Job) -> dict[str, np.ndarray]:
    """What both classifiers say of the test images; arrays as in docs/files.md."""
    settings = job.settings
    train_labels, labels = job.data.labels("train"), job.data.labels("test")
    h, test_h = (features(job.model, job.tensor(job.data.pixels(split))).cpu() for split in ("train", "test"))
    weights = crammer_singer(h, torch.from_numpy(train_labels), settings["steps"])
    svc = linear_svc(h.numpy(), train_labels, test_h.numpy(), settings["svc_c"], settings["svc_images"], job.seed)
    job.attributes["chosen_c"] = svc.chosen_c
    return {
        "labels": labels,
        "crammer_singer/weights": weights.numpy(),
        "crammer_singer/predicted": (test_h @ weights).argmax(1).numpy(),
        "linear_svc/predicted": svc.predicted,
        "linear_svc/c": np.array(settings["svc_c"]),
        "linear_svc/validation_accuracy": svc.validation_accuracy,
    }


@dataclass(frozen=True)
class LinearSVCResult:
    """predicted: int64 [N]; chosen_c: of `c`; validation_accuracy: of each candidate, on training images [len(c)]."""

    predicted: np.ndarray
    chosen_c: float
    validation_accuracy: np.ndarray


@torch.no_grad()
def features(model: MemVAE, x: Tensor) -> Tensor:
    """h_L, the last deterministic layer of the recognition model, after relu: x [N, D] real-valued -> [N, H]."""
    return torch.cat([model.encode(rows).hidden[-1] for rows in x.split(ROWS)])


def crammer_singer(h: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Weights [H, classes] of a linear multiclass SVM, without intercept: the authors' classifier.

    Minimises mean_i max(0, 1 + max_{j != y_i} s_ij - s_i,y_i) + (1e-4 / 2) ||W||^2 with s = h W, on batches of 100 in
    order, by AdaGrad: W <- W - 0.1 g / sqrt(sum of g^2 + 1e-4). h: [N, H]; labels: int64 [N].
    Differs: AdaGrad's 1e-4 stands in the root, and W starts at 0 (docs/differences.md).
    """
    classes = int(labels.max()) + 1
    weights, squares = torch.zeros(h.shape[1], classes), torch.zeros(h.shape[1], classes)
    chosen = torch.nn.functional.one_hot(labels, classes).to(h.dtype)
    size = min(BATCH, len(h))
    batches = [(h[i : i + size], labels[i : i + size], chosen[i : i + size]) for i in range(0, len(h) - size + 1, size)]
    progress = Progress("probing: authors' classifier, step", steps)
    for step in range(steps):
        gradient = hinge_gradient(weights, *batches[step % len(batches)])
        squares.addcmul_(gradient, gradient)
        weights.addcdiv_(gradient, torch.sqrt(squares + EPSILON), value=-RATE)
        progress.step()
    return weights


def hinge_gradient(weights: Tensor, h: Tensor, labels: Tensor, one_hot: Tensor) -> Tensor:
    """Gradient of the objective on one batch: [H, classes]."""
    scores = h @ weights
    rivals = (scores - 1e30 * one_hot).max(1)  # the highest score of a wrong class
    violated = (1 + rivals.values - scores.gather(1, labels[:, None]).squeeze(1) > 0).to(h.dtype)
    direction = -one_hot * violated[:, None]
    direction.scatter_(1, rivals.indices[:, None], violated[:, None])
    return h.T @ direction / len(h) + WEIGHT_DECAY * weights


def linear_svc(
    h: np.ndarray, labels: np.ndarray, test_h: np.ndarray, candidates: list[float], images: int, seed: int
) -> LinearSVCResult:
    """LinearSVC (one-vs-rest), C chosen by 3-fold cross-validation on the first `images` training images, or on
    images spread over all where the first do not show every class.

    The final fit uses all training images, with C / n kept, since LinearSVC's C multiplies a sum over images.
    h: [N, H], labels: [N], test_h: [M, H]. Nothing is chosen on test images.
    """
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    choosing = np.arange(min(images, len(h)))
    if len(set(labels[choosing])) < len(set(labels)):  # sorted by class, say
        choosing = np.linspace(0, len(h) - 1, len(choosing), dtype=int)
    search = GridSearchCV(_svc(LinearSVC, seed), {"C": candidates}, cv=3, refit=False)
    search.fit(h[choosing], labels[choosing])
    chosen = float(search.best_params_["C"])
    share = len(choosing) * 2 / 3 / len(h)  # of the images that chose, to all
    final = _svc(LinearSVC, seed).set_params(C=chosen * share).fit(h, labels)
    return LinearSVCResult(final.predict(test_h).astype(np.int64), chosen, search.cv_results_["mean_test_score"])


def _svc(kind: type, seed: int):  # type: ignore[no-untyped-def]
    return kind(dual=False, tol=1e-3, random_state=seed)
