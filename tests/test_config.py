"""The configuration: the paper's settings, strict keys, and what a scale may change."""

import copy
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from memvae.errors import InputError
from memvae.settings import config as configuration
from memvae.settings import targets
from memvae.settings.config import Config
from memvae.settings.spec import Network, RunSpec
from memvae.settings.strict_yaml import read_yaml

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


def test_a_scale_may_have_epochs_of_a_data_set_and_of_one_of_its_k() -> None:
    quick = changed(scale="quick")
    epochs = [quick.spec(f"mnist-vae-k{k}-s0").training.epochs for k in (1, 5, 50)]
    assert epochs == [40, 40, 3]
    for wrong in ("mnits", "mnits-k50"):
        with pytest.raises(InputError, match=r"^scales\.quick\.epochs: found 'mnits', expected one of mnist"):
            changed(scale="quick", scales={"quick": {"epochs": {wrong: 3}}})


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
        ("scale", "papr", ["scale", "'papr'", "paper, published, long, quick, demo"]),
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
        ("scales.paper.weights", "published", ["scales.paper", "'weights'", "title"]),
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


OLD_SPEC = (  # as written before titles left the specification
    '{"dataset": "ocr_letters", "dataset_title": "OCR-letters", "model_title": "MEM-VAE", "network": {"attention": '
    '"sigmoid", "composition": "mlp", "hidden": [200, 200], "image": [16, 8], "latent": 50, "likelihood": "bernoulli", '
    '"slots": [70, 30]}, "run": "ocr_letters-mem_vae-k1-s0", "seed": 0, "training": {"batch_size": 100, "beta1": 0.9, '
    '"beta2": 0.999, "binarise": "never", "clip_element": 1.0, "clip_norm": 5.0, "constant_epochs": 1000, '
    '"curve_every": 10, "decay": 0.998, "epochs": 3000, "epsilon": 0.0001, "full_epochs": 3000, "learning_rate": '
    '0.001, "precision": "bf16", "reconstruction_draw": "shared", "reconstruction_weight": 0.1, "samples": 1}, '
    '"version": 2}'
)


def test_a_specification_of_before_is_the_same_run_whatever_its_titles() -> None:
    renamed = changed(models={"mem_vae": {"title": "MEM-VAE (ours)"}})
    assert RunSpec.from_json(OLD_SPEC) == renamed.spec("ocr_letters-mem_vae-k1-s0")
    assert renamed.spec("ocr_letters-mem_vae-k1-s0").to_json() == changed().spec("ocr_letters-mem_vae-k1-s0").to_json()


# One value outside what each field may be: refused by name from Python and JSON alike.
OUTSIDE = [
    ("network", "image", [28]),
    ("network", "hidden", [0, 5]),
    ("network", "slots", [-1, 3]),
    ("network", "attention", "softmx"),
    ("training", "samples", 0),
    ("training", "epochs", "3"),
    ("training", "epochs", True),
    ("training", "epochs", 10**400),
    ("training", "full_epochs", 1.5),
    ("training", "learning_rate", float("nan")),
    ("training", "beta1", 1.5),
    ("training", "decay", 0),
    ("training", "clip_element", None),
]


@pytest.mark.parametrize(("part", "key", "value"), OUTSIDE, ids=str)
def test_a_value_outside_is_refused_by_name_from_python_and_json(part: str, key: str, value: Any) -> None:
    spec = changed().spec("mnist-vae-k1-s0")
    with pytest.raises(InputError, match=f"^{part}.{key}(.0)?: found .* expected"):
        dataclasses.replace(getattr(spec, part), **{key: value})
    raw = json.loads(spec.to_json())
    raw[part][key] = value
    with pytest.raises(InputError, match=f"^here.{part}.{key}(.0)?: found .* expected"):
        RunSpec.from_json(json.dumps(raw), "here")


def test_an_unknown_or_missing_key_of_a_specification_is_named() -> None:
    raw = json.loads(OLD_SPEC)
    for part, change in ((raw, {"colour": 1}), (raw["training"], {"colour": 1})):
        part |= change
        with pytest.raises(InputError, match="unknown key 'colour'"):
            RunSpec.from_json(json.dumps(raw))
        del part["colour"]
    del raw["network"]["latent"]
    with pytest.raises(InputError, match="network: the key 'latent' is missing"):
        RunSpec.from_json(json.dumps(raw))


def test_whole_floats_are_whole_numbers() -> None:
    config = changed(scales={"paper": RAW["scales"]["paper"]}, analyses={"imputation": {"iterations": 2.0}})
    assert type(config.settings("imputation")["iterations"]) is int
    spec = json.loads(OLD_SPEC)
    spec["training"]["epochs"] = 3000.0
    assert RunSpec.from_json(json.dumps(spec)).to_json() == changed().spec("ocr_letters-mem_vae-k1-s0").to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {a: 1}\ntraining: {b: 2}\n", "line 2: found the key 'training' twice"),
        ("a:\n  b: 1\n  b: 2\n", "line 3: found the key 'b' twice"),
        ("seeds: [010]", "found '010', expected a whole number in plain decimals"),
        ("seeds: [0x1F]", "found '0x1F'"),
        ("seeds: [1_000]", "found '1_000'"),
        ("seeds: [1:30]", "found '1:30'"),
        ("left_half: yes", "found 'yes', expected true or false"),
        ("[1, 2]", "found list, expected a mapping"),
        ("a: [", "found no YAML"),
    ],
)
def test_yaml_that_says_something_else_than_it_seems_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=r"own\.yaml.*" + re.escape(words)):
        read_yaml(tmp_path / "own.yaml")


@pytest.mark.parametrize("seeds", [["010"], ["\u00b2"], "0,1", [20261101 * 10**12]])
def test_seeds_of_a_command_line_are_as_strict(seeds: Any) -> None:
    with pytest.raises(InputError, match=r"seeds\.0: found"):
        changed(seeds=seeds)


def test_an_analysis_of_the_memory_refuses_a_model_without_one() -> None:
    with pytest.raises(InputError, match=r"analyses\.slots\.models: found 'vae', which has no memory"):
        changed(analyses={"slots": {"models": ["vae"]}})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"analyses": {"imputation": {"left_half": False}}}, r"imputation\.left_half: found false, expected true"),
        ({"analyses": {"imputation": {"models": ["vae"]}}}, r"imputation\.models: found one, expected two or more"),
        ({"models": {"vis_mem_vae": {"slots": [0, 5]}}}, r"slots\.models: found none with slots next to the data"),
    ],
)
def test_what_a_figure_cannot_be_made_of_is_refused_before_the_first_job(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=rf"analyses\.{expected}"):
        changed(**change)


def test_an_analysis_may_name_its_own_seeds() -> None:
    config = changed(analyses={"slots": {"seeds": [0, 4]}})
    (row,) = config.analysis_rows("slots")
    assert row.runs == ("mnist-vis_mem_vae-k1-s0", "mnist-vis_mem_vae-k1-s4")


@pytest.mark.parametrize(
    "module",
    [
        "memvae.settings.config",
        "memvae.settings.spec",
        "memvae.settings.targets",
        "memvae.operations.cost",
        "memvae.settings.registry",
    ],
)
def test_what_snakemake_imports_at_every_dry_run_is_light(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'torch','numpy','h5py','pandas','sklearn','yaml'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_training_and_analyses_need_torch_numpy_and_h5py_alone() -> None:
    unwanted = "{'pandas', 'matplotlib', 'sklearn', 'snakemake', 'yaml'}"
    code = (
        "import sys, memvae.commands, memvae.training.loop; from memvae.settings import registry; "
        "found = [registry.find(name) for name in registry.shipped()]; "
        "[one.part('compute') for one in found if one.declared.of in ('run', 'networks')]; "
        f"print(sorted({unwanted} & set(sys.modules)))"
    )
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
    assert "results/evaluation/mnist-mine-k1-s0/likelihood.h5" in targets.inputs(config, "measurements")
    assert [row["model"] for row in targets.networks(config)][-1] == "mine"


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
