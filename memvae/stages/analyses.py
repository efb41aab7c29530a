"""The analyses, each of one model; and the count of parameters, of none."""

from pathlib import Path
from typing import Any

from memvae.errors import InputError
from memvae.files import store
from memvae.settings import targets
from memvae.settings.spec import Network, strict
from memvae.stages import shared
from memvae.stages.shared import Arguments


class Analysis:
    """One analysis of one model: loads what it needs, and writes `arrays` and `attributes` when the block ends well."""

    def __init__(self, arguments: Arguments):
        from memvae.data import dataset
        from memvae.model import device as compute
        from memvae.model import trained as models

        self.arguments, self.name = arguments, arguments.command
        self.device = compute.set_up()
        path = Path(arguments.model or targets.model_file(shared.config(arguments), arguments.run))
        self.loaded = models.load(path, self.device)
        name = self.loaded.spec.dataset
        self.data = dataset.load(arguments.data or targets.data_file(name))
        if self.data.sha256 != self.loaded.provenance["data_sha256"]:
            raise InputError(
                f"{self.data.path}: found sha256 {self.data.sha256[:12]}, expected that of the data {path} was trained "
                f"on, {self.loaded.provenance['data_sha256'][:12]}; train again or restore the data"
            )
        self.inputs = [path, self.data.path]
        self.settings = shared.settings(arguments, self.name, name)
        self.arrays: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {"settings": self.settings, **self.loaded.provenance}

    def tensor(self, values: Any) -> Any:
        import torch

        return torch.from_numpy(values).to(self.device)

    def mode(self, seconds: float) -> Any:
        """How the network's passes are computed, which would take so many seconds when not compiled."""
        from memvae.model import device as compute

        mode = compute.mode(self.settings["precision"], self.device, seconds)
        self.attributes["computed"] = str(mode)
        return mode

    def keyed(self, purpose: str) -> Any:
        from memvae.random import keyed

        return keyed(self.loaded.spec.seed, purpose)

    def __enter__(self) -> "Analysis":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            run = self.loaded.spec.run
            output = self.arguments.output or targets.analysis_file(shared.config(self.arguments), run, self.name)
            shared.write(self.arguments, output, f"analysis/{self.name}", self.arrays, self.attributes, self.inputs)


def parameters(arguments: Arguments) -> None:
    """count the trainable parameters of the paper's networks"""
    import numpy as np

    from memvae.analyses.parameters.compute import count_parameters

    (rows,) = shared.told(arguments, targets.PARAMETERS, "rows")
    networks = [strict(Network, row["network"], "network") for row in rows]
    counts = np.array([count_parameters(network) for network in networks], dtype=np.int64)
    output = arguments.output or targets.parameters_file(shared.config(arguments))
    shared.write(arguments, output, "analysis/parameters", {"counts": counts}, {"rows": rows, **store.provenance()}, [])


def likelihood(arguments: Arguments) -> None:
    """estimate the log-likelihood of the test images, and the parts of the bound"""
    import torch

    from memvae.analyses.likelihood.compute import bound_parts, log_likelihood
    from memvae.operations import cost as costs
    from memvae.training.loop import binarised

    with Analysis(arguments) as work:
        settings, seed, model = work.settings, work.loaded.spec.seed, work.loaded.model
        test = work.tensor(work.data.test_binary)
        images = settings["images"] or len(test)
        samples = [k for k in (settings["samples"], settings["more_samples"]) if k]
        mode = work.mode(costs.decoding_seconds(work.loaded.spec.network, images * max(samples)))
        values = log_likelihood(model, test[:images], samples, (seed, "log-likelihood of test images"), mode)
        names = ("test/log_likelihood", "test/log_likelihood_more")
        work.arrays |= dict(zip(names, values, strict=False))
        train = torch.from_numpy(work.data.pixels("train")[: settings["train_images"]])
        if work.loaded.spec.training.binarise == "each_epoch":
            train = binarised(train, work.keyed("train images")).float()
        for split, x in (("test", test), ("train", train.to(work.device))):
            parts = bound_parts(model, x, settings["bound_draws"], (seed, f"bound of {split} images"))
            work.arrays |= {f"{split}/{name}": value for name, value in vars(parts).items()}


def generation(arguments: Arguments) -> None:
    """generate images with the memory as it is and disabled"""
    from memvae.analyses.generation.compute import generate

    with Analysis(arguments) as work:
        work.arrays |= generate(work.loaded.model, work.settings["draws"], work.loaded.spec.seed, work.device)


def detail(arguments: Arguments) -> None:
    """what disabling the memory takes from images and from their likelihood"""
    from memvae.analyses.detail.compute import likelihoods, spectra
    from memvae.operations import cost as costs

    with Analysis(arguments) as work:
        settings, seed, model = work.settings, work.loaded.spec.seed, work.loaded.model
        draws, cutoff, samples = settings["draws"], settings["cutoff"], settings["samples"]
        work.arrays |= spectra(model, work.data.pixels("test"), draws, cutoff, seed, work.device)
        x = work.tensor(work.data.test_binary)
        images = min(settings["images"] or len(x), len(x))
        mode = work.mode(costs.decoding_seconds(work.loaded.spec.network, costs.CONDITIONS * images * samples))
        work.arrays |= likelihoods(model, x, images, samples, settings["bound_draws"], seed, mode)


def slots(arguments: Arguments) -> None:
    """average preference values of the slots by class, and the slots as images"""
    from memvae.analyses.slots.compute import slots as responses

    with Analysis(arguments) as work:
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        work.arrays |= responses(work.loaded.model, x, labels, work.settings["top"], work.loaded.spec.seed)
        work.attributes["images"] = len(x)


def imputation(arguments: Arguments) -> None:
    """complete images with missing pixels, and let the classifier read them"""
    from memvae.analyses.imputation.classifier import load_classifier
    from memvae.analyses.imputation.compute import impute
    from memvae.data import corruption
    from memvae.operations import cost as costs

    with Analysis(arguments) as work:
        settings, spec = work.settings, work.loaded.spec
        path = Path(arguments.classifier or targets.classifier_file(shared.config(arguments), spec.dataset))
        judge = load_classifier(path, work.device)
        work.inputs.append(path)
        x, labels = work.tensor(work.data.pixels("test")), work.data.labels("test")
        shown = settings["shown"]
        work.arrays |= {"labels": labels, "truth": work.data.pixels("test")[:shown]}
        noises = corruption.noises(settings)
        passes = len(noises) * settings["iterations"] * len(x)
        mode = work.mode(costs.passing_seconds(spec.network, passes))
        for noise in noises:
            missing = work.tensor(corruption.missing(noise, len(x), work.data.image, spec.seed))
            start = work.tensor(corruption.starting_values(noise, len(x), work.data.image, spec.seed))
            key = (spec.seed, f"{spec.run} {noise.name}")
            completed, error = impute(
                work.loaded.model, x, missing, start, settings["iterations"], settings["batch_size"], key, mode
            )
            work.arrays |= {
                f"{noise.name}/error": error,
                f"{noise.name}/recovered": judge.model.predict(completed) == labels,
                f"{noise.name}/perturbed": start.where(missing, x)[:shown].cpu().numpy(),
                f"{noise.name}/completed": completed[:shown].cpu().numpy(),
            }
        work.attributes |= {
            "noises": [noise.name for noise in noises],
            "classifier_accuracy": judge.test_accuracy,
            "classifier_sha256": judge.sha256,
        }


def probing(arguments: Arguments) -> None:
    """linear SVMs on the features of the recognition model"""
    import numpy as np
    import torch

    from memvae.analyses.probing.compute import crammer_singer, features, linear_svc

    with Analysis(arguments) as work:
        settings, seed = work.settings, work.loaded.spec.seed
        train_labels, labels = work.data.labels("train"), work.data.labels("test")
        h = features(work.loaded.model, work.tensor(work.data.pixels("train"))).cpu()
        test_h = features(work.loaded.model, work.tensor(work.data.pixels("test"))).cpu()
        weights = crammer_singer(h, torch.from_numpy(train_labels), settings["steps"])
        svc = linear_svc(h.numpy(), train_labels, test_h.numpy(), settings["svc_c"], settings["svc_images"], seed)
        work.arrays |= {
            "labels": labels,
            "crammer_singer/weights": weights.numpy(),
            "crammer_singer/predicted": (test_h @ weights).argmax(1).numpy(),
            "linear_svc/predicted": svc.predicted,
            "linear_svc/c": np.array(settings["svc_c"]),
            "linear_svc/validation_accuracy": svc.validation_accuracy,
        }
        work.attributes["chosen_c"] = svc.chosen_c
