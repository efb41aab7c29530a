"""The configuration: the paper's settings, strict keys, and what a scale may change."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import yaml
from project import ROOT

from memvae.errors import InputError
from memvae.settings import config as configuration
from memvae.settings import targets
from memvae.settings.config import Config
from memvae.settings.spec import Network, RunSpec

RAW: dict[str, Any] = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def changed(**overrides: Any) -> Config:
    return Config(configuration.normalise(configuration.merge(RAW, overrides)))


def test_a_run_of_the_paper_has_the_papers_settings() -> None:
    spec = changed().spec("mnist-mem_vae-k1-s0")
    assert spec.network == Network((28, 28), (500, 500), 100, (70, 30), "sigmoid", "mlp", "bernoulli")
    training = spec.training
    assert (training.epochs, training.batch_size, training.constant_epochs) == (3000, 100, 1000)
    assert (training.learning_rate, training.beta1, training.beta2, training.epsilon) == (1e-3, 0.9, 0.999, 1e-4)
    assert (training.clip_norm, training.clip_element, training.decay) == (5.0, 1.0, 0.998)
    assert (training.reconstruction_weight, training.reconstruction_draw) == (0.1, "shared")


def test_frey_faces_have_no_local_reconstruction_error_and_small_batches() -> None:
    training = changed().spec("frey_faces-mem_vae-k1-s0").training
    assert (training.reconstruction_weight, training.batch_size, training.epochs) == (0.0, 10, 1000)


def test_specification_survives_json() -> None:
    spec = changed().spec("ocr_letters-mem_vae-k5-s3")
    assert RunSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("scale", RAW["scales"])
def test_a_scale_changes_no_network_and_no_optimiser(scale: str) -> None:
    here, paper = changed(scale=scale), changed()
    for run in here.runs("appendix", "extended"):
        spec, reference = here.spec(run), paper.spec(run)
        assert spec.network == reference.network
        numbers = {"epochs": 0, "curve_every": 0}
        assert vars(spec.training) | numbers == vars(reference.training) | numbers


def test_no_two_scales_share_a_file() -> None:
    files = [set(targets.all_files(changed(scale=scale), extended=True)) for scale in RAW["scales"]]
    assert sum(map(len, files)) == len(set.union(*files))


def test_the_demo_needs_no_download() -> None:
    demo = changed(scale="demo")
    assert {demo.spec(run).dataset for run in demo.runs("appendix")} == {"digits"}
    assert "files" not in demo.datasets["digits"]
    assert [row.runs for row in demo.rows("appendix") if row.paper_dataset == "ocr_letters"] == [(), ()]


@pytest.mark.parametrize("seeds", [[0, 1], ["0", "1"]])
def test_seeds_from_the_command_line_are_normalised(seeds: list[Any]) -> None:
    assert changed(seeds=seeds).seeds == [0, 1]


def test_a_lone_seed_is_a_list_of_one() -> None:
    assert changed(seeds=7).seeds == [7]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("scale", "papr", ["scale", "'papr'", "paper, long, quick, demo"]),
        ("surprise", 1, ["unknown key 'surprise'", "datasets"]),
        ("seeds", [], ["seeds"]),
        ("seeds", [-1], ["seeds.0", "-1"]),
        ("models.vae.slotz", 3, ["models.vae", "'slotz'", "slots"]),
        ("models.mem_vae.attention", "hard", ["models.mem_vae.attention", "'hard'", "sigmoid, softmax"]),
        ("datasets.mnist.network.hidden", "500", ["datasets.mnist.network.hidden", "500"]),
        ("datasets.mnist.network.hidden", [0], ["datasets.mnist.network.hidden.0", "0"]),
        ("datasets.mnist.loader", "import os", ["datasets.mnist.loader"]),
        ("datasets.mnist.files", {"../../etc/passwd": {"sha256": "0" * 64, "homes": ["https://a/"]}}, ["files"]),
        ("training.learning_rate", "fast", ["training.learning_rate", "'fast'"]),
        ("training.decay", 1.5, ["training.decay", "1.5"]),
        ("analyses.likelihood.samples", 0, ["analyses.likelihood.samples", "0"]),
        ("scales.demo.batch", 3, ["scales.demo", "'batch'"]),
        ("runs.appendix", [{"dataset": "minst", "model": "vae", "k": 1}], ["runs.appendix[0].dataset", "'minst'"]),
        ("scales.paper.epochs", {"mnist": 3}, ["scales.paper", "'epochs'", "title"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(path: str, value: Any, words: list[str]) -> None:
    raw = copy.deepcopy(RAW)
    *parents, key = path.split(".")
    place = raw
    for parent in parents:
        place = place[parent]
    place[key] = value
    with pytest.raises(InputError) as caught:
        Config(configuration.normalise(raw))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"models": {"vae": {"slots": [1, 2, 3]}}}, ["slots has 3", "hidden 2"]),
        ({"datasets": {"mnist": {"training": {"constant_epochs": 9000}}}}, ["constant_epochs", "9000"]),
        ({"datasets": {"mnist": {"likelihood": "gaussian"}}}, ["binarise", "gaussian".title()]),
    ],
)
def test_an_impossible_combination_is_refused(overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        changed(**overrides).spec("mnist-vae-k1-s0")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "run", ["mnist", "mnist-vae-k1", "mnist-nope-k1-s0", "nope-vae-k1-s0", "mnist-vae-k0-s0", "../x"]
)
def test_a_wrong_run_is_refused(run: str) -> None:
    with pytest.raises(InputError):
        changed().spec(run)


@pytest.mark.parametrize(("key", "value"), [("epochs", "3"), ("epochs", True), ("clip_norm", None), ("extra", 1)])
def test_a_specification_from_elsewhere_is_checked_strictly(key: str, value: Any) -> None:
    import json

    raw = json.loads(changed().spec("mnist-vae-k1-s0").to_json())
    raw["training"][key] = value
    with pytest.raises(InputError, match=key):
        RunSpec.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "module", ["memvae.settings.config", "memvae.settings.spec", "memvae.settings.targets", "memvae.operations.cost"]
)
def test_what_snakemake_imports_at_every_dry_run_is_light(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'torch','numpy','h5py','pandas','sklearn','yaml'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_training_needs_torch_numpy_and_h5py_alone() -> None:
    modules = (
        "memvae.training.loop, memvae.model.trained, memvae.analyses.likelihood.compute, memvae.analyses.slots.compute"
    )
    modules += ", memvae.analyses.imputation.compute, memvae.analyses.generation.compute, memvae.analyses.imputation.classifier"
    modules += ", memvae.stages.training, memvae.stages.analyses"
    unwanted = "{'pandas', 'matplotlib', 'sklearn', 'snakemake', 'yaml'}"
    code = f"import sys, {modules}; print(sorted({unwanted} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_run_of_ones_own_joins_tables_and_can_be_analysed() -> None:
    mine = {"mine": {"title": "MINE", "attention": "softmax", "slots": 9}}
    run = {"dataset": "mnist", "model": "mine", "k": 1}
    config = changed(models=mine, runs={"own": [run]}, analyses={"slots": {"models": ["vis_mem_vae", "mine"]}})
    assert "mnist-mine-k1-s0" in config.runs("appendix", "own")
    assert "results/evaluation/mnist-mine-k1-s0/likelihood.h5" in targets.inputs(config, "likelihood")
    assert "results/evaluation/mnist-mine-k1-s0/slots.h5" in targets.inputs(config, "table4")
    assert "results/evaluation/mnist-mine-k1-s0/likelihood.h5" not in targets.inputs(config, "scorecard")
    assert [row["model"] for row in targets.parameter_rows(config)][-1] == "mine"


def test_an_analysis_of_a_model_without_a_run_says_what_to_add() -> None:
    with pytest.raises(InputError, match=r"analyses\.slots\.models.*'mine'.*runs\.own"):
        changed(analyses={"slots": {"models": ["mine"]}}).analysis_rows("slots")


def test_a_misspelled_key_is_named_and_not_the_one_that_is_missing_then() -> None:
    raw = copy.deepcopy(RAW)
    raw["training"]["learning_rat"] = raw["training"].pop("learning_rate")
    with pytest.raises(InputError, match="training: found the unknown key 'learning_rat', expected one of"):
        Config(raw)
    del raw["training"]["learning_rat"]
    with pytest.raises(InputError, match=r"^training: the key 'learning_rate' is missing$"):
        Config(raw)


def test_seeds_in_one_word_are_refused_with_how_they_are_written() -> None:
    with pytest.raises(InputError, match=r"seeds\.0: found '0,1'.*'seeds=\[0,1,2\]'"):
        changed(seeds="0,1")


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("results/models/x.h5", ""),
        ("results/scorecard.csv", ""),
        ("figures/fig7.png", ""),
        ("data/mnist.h5", ""),
        ("results/demo/models/x.h5", " --config scale=demo"),
        ("results/demo/scorecard.csv", " --config scale=demo"),
        ("figures/demo/fig7.png", " --config scale=demo"),
    ],
)
def test_the_command_that_makes_a_file_has_the_scale_of_its_path(path: str, option: str) -> None:
    assert configuration.making(path) == f"`snakemake --cores 1 {path}{option}`"
