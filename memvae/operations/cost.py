"""Rough times: what the jobs that are to run will take here. Standard library only.

From measurements on one core of a 2-core machine (docs/performance.md): for planning, within a factor of two.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from memvae.errors import InputError
from memvae.progress import readable
from memvae.settings.config import Config
from memvae.settings.spec import Network, RunSpec

FLOPS = 45e9  # per second and core, products of this size in float32
STEP_OVERHEAD = 2.5e-3  # seconds of a training step outside its products
PAYS_BACK = 120.0  # seconds of work from which it is compiled
COMPILING = 30.0  # seconds
COMPILED = 0.55  # time of compiled work with bf16 products, as a part of what it takes otherwise
START = 3.0  # seconds to start a job
FASTER_ON_GPU = 30.0  # a guess, not measured: a step as one graph, 0.3 ms
CONDITIONS = 3  # of the analysis `detail`: with the memory, without one, without any
RULES_WITH_COST = ("train", "classifier", "likelihood", "detail", "imputation", "probing")
TRAIN_IMAGES = {"mnist": 60000, "ocr_letters": 32152, "frey_faces": 1865, "digits": 1500}
TEST_IMAGES = {"mnist": 10000, "ocr_letters": 10000, "frey_faces": 100, "digits": 297}

Jobs = Iterable[tuple[str, dict[str, str]]]


def seconds(config: Config, rule: str, wildcards: dict[str, str]) -> float:
    """Estimated seconds of one job on one core."""
    if rule == "classifier":
        return START + config.analyses["classifier"]["epochs"] * 3.5e-4 * TRAIN_IMAGES.get(wildcards["dataset"], 10000)
    if rule not in RULES_WITH_COST:
        return START
    spec = config.spec(wildcards["run"])
    train, test = (table.get(spec.dataset, 10000) for table in (TRAIN_IMAGES, TEST_IMAGES))
    settings = config.analyses.get(rule, {})
    if rule == "train":
        return START + _compiled(training_seconds(spec, train))
    if rule == "likelihood":
        images = settings["images"] or test
        samples = max(settings["samples"], settings["more_samples"].get(spec.dataset, 0))
        draws = images * samples + settings["bound_draws"] * (test + settings["train_images"])
        return START + _compiled(decoding_seconds(spec.network, draws))
    if rule == "detail":
        images = min(settings["images"] or test, test)
        draws = CONDITIONS * (images * settings["samples"] + settings["bound_draws"] * test + settings["draws"])
        return START + _compiled(decoding_seconds(spec.network, draws))
    if rule == "imputation":
        noises = len(settings["squares"]) + len(settings["drops"]) + bool(settings["left_half"])
        return START + _compiled(passing_seconds(spec.network, noises * settings["iterations"] * test))
    return START + settings["steps"] * 2.5e-4 + 1.2e-3 * train


def training_seconds(spec: RunSpec, images: int) -> float:
    """Seconds of a training on one core, not compiled."""
    encoder, decoder = _products(spec.network)
    training = spec.training
    per_step = 3 * training.batch_size * (encoder + training.samples * decoder) / FLOPS + STEP_OVERHEAD
    return training.epochs * (images // training.batch_size) * per_step


def full_training_hours(spec: RunSpec) -> float:
    """Hours of one core that a run takes at its data set's own number of epochs."""
    full = replace(spec, training=replace(spec.training, epochs=spec.training.full_epochs))
    return _compiled(training_seconds(full, TRAIN_IMAGES.get(spec.dataset, 10000))) / 3600


def decoding_seconds(network: Network, rows: int) -> float:
    """Seconds of the decoder's passes over so many rows on one core, not compiled."""
    return rows * _products(network)[1] / FLOPS


def passing_seconds(network: Network, rows: int) -> float:
    """Seconds of so many images' ways through encoder and decoder on one core, not compiled."""
    return rows * sum(_products(network)) / FLOPS


def announcement(config: Config, jobs: Jobs) -> str:
    """What is about to run: scale, data, jobs, rough time; and, for a long one, the shorter scale."""
    jobs = list(jobs)
    return "\n".join([heading(config, jobs), _rough_time(config, jobs), *advice(config, jobs)])


def heading(config: Config, jobs: Jobs) -> str:
    """Scale, data, seeds and folders."""
    datasets = sorted({config.datasets[name]["title"] for name in _datasets(config, list(jobs))})
    return (
        f"memvae: scale={config.scale} ({config.title}); data: {', '.join(datasets) or 'none'}; "
        f"seeds {', '.join(map(str, config.seeds))}; results in {config.results}/, figures in {config.figures}/"
    )


def advice(config: Config, jobs: Jobs) -> list[str]:
    """Where there is something to train, the shorter scale."""
    shorter = {"paper": "quick", "long": "quick", "quick": "demo"}.get(config.scale)
    return (
        [f"memvae: shorter: --config scale={shorter}"] if shorter and any(rule == "train" for rule, _ in jobs) else []
    )


def planned(target: str, extra: list[str]) -> list[tuple[str, dict[str, str]]]:
    """(rule, wildcards) of the jobs that `snakemake TARGET` would run now, without running them.

    extra: further options of Snakemake. Raises InputError with Snakemake's reason when the target cannot be made.
    """
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--nolock", *extra, "--", target]
    result = subprocess.run(command, capture_output=True, text=True)
    text = result.stdout + result.stderr
    if result.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        ours = [line.removeprefix("memvae: ") for line in lines if line.startswith("memvae: ")]
        if ours:
            raise InputError(ours[0].replace("--config scale=", "--scale "))
        raise InputError(f"{target}: snakemake cannot plan it: {' '.join(lines[-3:])[:300]}")
    return _planned(text)


def _compiled(time: float) -> float:
    """What work takes that is compiled where that pays, from its seconds when it is not."""
    return COMPILING + COMPILED * time if time >= PAYS_BACK else time


def _planned(text: str) -> list[tuple[str, dict[str, str]]]:
    """The jobs of a dry run's text: each `rule NAME:` and the `wildcards:` line below it."""
    jobs: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):", line.strip()):
            jobs.append((match[1], {}))
        elif jobs and (match := re.match(r"\s+wildcards: (.*)", line)):
            jobs[-1][1].update((key, value) for key, _, value in (pair.partition("=") for pair in match[1].split(", ")))
    return jobs


def _rough_time(config: Config, jobs: list[tuple[str, dict[str, str]]]) -> str:
    if not jobs:
        return "memvae: nothing to be done"
    times = [seconds(config, rule, wildcards) for rule, wildcards in jobs]
    trainings = [time for (rule, _), time in zip(jobs, times, strict=True) if rule == "train"]
    text = f"memvae: {len(jobs)} jobs, {len(trainings)} of them trainings; about {readable(sum(times))} of one core"
    if sum(times) > 3600:
        gpu = sum(trainings) / FASTER_ON_GPU
        text += (
            f", the longest job {readable(max(times))}; the trainings on a GPU perhaps {readable(gpu)} (not measured)"
        )
    return text


def _datasets(config: Config, jobs: list[tuple[str, dict[str, str]]]) -> set[str]:
    named = {wildcards["dataset"] for _, wildcards in jobs if "dataset" in wildcards}
    return named | {wildcards["run"].split("-")[0] for _, wildcards in jobs if "run" in wildcards}


def _products(network: Network) -> tuple[float, float]:
    """Floating-point operations of one image's way through encoder and decoder."""
    widths = (network.pixels, *network.hidden)
    hidden = sum(a * b for a, b in pairwise(widths))
    memory = sum(2 * units * slots for units, slots in zip(network.hidden, network.slots, strict=True))
    top = network.hidden[-1] * network.latent
    return 2.0 * (hidden + 2 * top), 2.0 * (hidden + top + memory)
