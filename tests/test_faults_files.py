"""Damaged files and damaged configurations: a clear refusal or a correct result, never a wrong number or a traceback.

Some cases run with the other tests, hundreds more with `-m release`.
"""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import numpy as np
import project
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memvae.analyses.imputation import classifier
from memvae.data import dataset
from memvae.errors import InputError
from memvae.files import store
from memvae.model import trained as models
from memvae.settings import config as configuration
from memvae.settings import targets
from memvae.settings.config import Config
from memvae.settings.spec import RunSpec
from memvae.training import loop

CPU = torch.device("cpu")
RUN = "digits-mem_vae-k1-s0"
RAW: dict[str, Any] = yaml.safe_load((project.ROOT / "config/config.yaml").read_text())


def cases(count: int) -> Callable[[Any], Any]:
    """The same random cases every time."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


def few_and_many(few: int, many: int) -> Any:
    """The number of random cases: few with the other tests, many before a release."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.release)])


@pytest.fixture(autouse=True)
def denormal_numbers():
    """Hypothesis wants them; a job, and so a test that runs one in this process, sets them to zero."""
    torch.set_flush_denormal(False)


def refusal(action: Callable[[], Any]) -> str:
    """The one line with which an action is refused; empty when it succeeds. Any other error is the test's."""
    try:
        action()
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        return str(error)
    return ""


# ---- files -----------------------------------------------------------------------------------------------------------
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "data set": ("data/digits.h5", lambda path: dataset.load(path).arrays),
    "state": (f"results/tiny/models/{RUN}.state.h5", lambda path: store.read(path, "state").arrays),
    "model": (f"results/tiny/models/{RUN}.h5", lambda path: tensors(models.load(path, CPU).model)),
    "classifier": (
        "results/tiny/classifiers/digits.h5",
        lambda path: tensors(classifier.load_classifier(path, CPU).model),
    ),
    "analysis": (f"results/tiny/evaluation/{RUN}/likelihood.h5", lambda path: store.read(path, "analysis").arrays),
}


def tensors(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


@few_and_many(20, 200)
@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_refused_by_its_reader_or_read_as_it_was(
    finished: Path, tmp_path: Path, kind: str, count: int
) -> None:
    name, read = READERS[kind]
    content, path = (finished / name).read_bytes(), tmp_path / "damaged.h5"
    expected = read(finished / name)

    @cases(count)
    @given(faults.damages)
    def check(damage: tuple) -> None:
        path.write_bytes(faults.damaged(content, damage))
        with faults.injected(f"file {damage[0]}", kind):
            found: list[dict[str, np.ndarray]] = []
            line = refusal(lambda: found.append(read(path)))
            if line:
                assert str(path) in line and "damaged" in line
            else:
                assert all(np.array_equal(found[0][key], value) for key, value in expected.items())
                assert found[0].keys() == expected.keys()

    check()


@few_and_many(3, 25)
def test_a_training_from_a_damaged_state_ends_with_the_same_weights(finished: Path, tmp_path: Path, count: int) -> None:
    spec = project.TINY.spec(RUN)
    data = dataset.load(finished / "data/digits.h5")
    material = loop.TrainingData(data.pixels("train"), data.test_binary, data.sha256)
    content = (finished / f"results/tiny/models/{RUN}.state.h5").read_bytes()
    expected = tensors(models.load(finished / f"results/tiny/models/{RUN}.h5", CPU).model)
    state = tmp_path / "run.state.h5"

    @cases(count)
    @given(faults.damages)
    def check(damage: tuple) -> None:
        for path in tmp_path.iterdir():
            path.unlink()
        state.write_bytes(faults.damaged(content, damage))
        with faults.injected(f"state {damage[0]} before the training goes on", "train"):
            found = tensors(loop.train(spec, material, state, CPU).model)
            assert all(np.array_equal(found[key], value) for key, value in expected.items())
            assert state.with_name("run.state.h5.aside-1").exists() or state.read_bytes() == content

    check()


@pytest.mark.release
@pytest.mark.parametrize("damage", [("truncated", 0.7), ("zeroed", 0.5, 4096), ("bit-flipped", [(0.6, 3)])])
@pytest.mark.parametrize("name", ["data/digits.h5", f"results/tiny/models/{RUN}.h5"])
def test_a_damaged_input_stops_the_workflow_with_its_name(
    finished: Path, tmp_path: Path, name: str, damage: tuple
) -> None:
    """As a disk that fails does it: content changes, and neither Snakemake nor the time of the file says so."""
    folder = project.make(tmp_path / "project")
    for part in ("data", "results", "figures"):
        shutil.copytree(finished / part, folder / part)
    likelihood = folder / f"results/tiny/evaluation/{RUN}/likelihood.h5"
    whole = likelihood.read_bytes()
    likelihood.unlink()
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(faults.damaged(content, damage))
    with faults.injected(f"file {damage[0]}", "workflow"):
        words = ("likelihood", RUN, "--configfile", faults.TINY)
        result = project.memvae(folder, *words)
        assert result.returncode == 2 and name in result.stderr and "damaged" in result.stderr
        assert len(result.stderr.splitlines()) == 1 and not likelihood.exists()
        (folder / name).write_bytes(content)
        assert project.memvae(folder, *words).returncode == 0
        assert likelihood.read_bytes() == whole


@pytest.mark.parametrize("compress", [True, False])
def test_a_full_disk_is_one_line_however_little_room_is_left(tmp_path: Path, compress: bool) -> None:
    """HDF5 itself crashes where its own writing fails."""
    arrays = {f"weights/{i}": np.random.default_rng(i).random((100, 100)) for i in range(14)}  # 1.1 MB
    with faults.small_disk(tmp_path / "disk", 4096) as disk:
        for room in (0, 4, 16, 64, 200, 500, 1000):
            (disk / "state.h5").write_bytes(b"earlier")
            with faults.injected("full disk", "HDF5 file"):
                filler = faults.fill(disk, room)
                line = refusal(lambda: store.write(disk / "state.h5", "state", arrays, {}, compress))
                assert line.startswith(f"{disk}/state.h5: cannot be written (No space left on device)")
                filler.unlink()
                assert faults.files(disk) == {"state.h5": b"earlier"}
        store.write(disk / "state.h5", "state", arrays, {}, compress)
        assert store.read(disk / "state.h5", "state").arrays.keys() == arrays.keys()


# ---- configurations -------------------------------------------------------------------------------------------------
def paths(value: Any, above: tuple = ()) -> list[tuple]:
    """The place of every key and every list item."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*above, key), *paths(item, (*above, key)))]


PATHS = paths(RAW)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([-1, 0, 1, 2, 3, 10**30, -0.0, 0.5, 1e308]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20), st.dates(), st.binary(max_size=5))
names = st.sampled_from(["mnist", "digits", "vae", "mem_vae", "paper", "tiny\n", "", "../x", "k1", "nothing"])
values = st.recursive(
    st.one_of(scalars, names),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(names, scalars), inner, max_size=3)),
    max_leaves=6,
)
changes = st.lists(
    st.tuples(st.sampled_from(PATHS), st.sampled_from(["set", "delete", "add"]), names, values), min_size=1, max_size=3
)


def changed(edits: list[tuple]) -> dict[str, Any]:
    """The shipped configuration with some keys set, deleted and added."""
    raw = copy.deepcopy(RAW)
    for (*parents, key), action, name, value in edits:
        place = raw
        for parent in parents:
            try:
                place = place[parent]
            except (KeyError, IndexError, TypeError):  # an earlier edit took it away
                break
        else:
            in_list = isinstance(place, list) and isinstance(key, int) and key < len(place)
            if action == "set" and (isinstance(place, dict) or in_list):
                place[key] = value
            elif action == "delete" and isinstance(place, dict):
                place.pop(key, None)
            elif action == "add" and isinstance(place, dict):
                place[name] = value
    return raw


def plan(raw: Any) -> None:
    """All that the workflow asks of a configuration before its first job."""
    config = Config(configuration.normalise(raw))
    for run in config.runs("appendix", "extended", "own"):
        spec = config.spec(run)
        assert RunSpec.from_json(spec.to_json()) == spec
    for entry in targets.drawn(config):
        json.dumps(entry, allow_nan=False)
    of_networks = [name for name, one in config.registered.items() if one.declared.of == "networks"]
    for target in (*targets.shown(config), *targets.SCORECARDS, "page", "archive", *of_networks):
        targets.plan_file(config, target)
    for name in (*config.registered, "classifier"):
        for data in config.datasets:
            json.dumps(targets.settings(config, name, data), allow_nan=False)


def test_the_shipped_configuration_can_be_planned_at_every_scale() -> None:
    for scale in RAW["scales"]:
        plan(RAW | {"scale": scale})


@few_and_many(100, 800)
def test_a_changed_configuration_is_refused_in_one_line_or_can_be_planned(count: int) -> None:
    @cases(count)
    @given(changes, st.sampled_from([*RAW["scales"], "none"]))
    def check(edits: list[tuple], scale: str) -> None:
        raw = changed([*edits, (("scale",), "set", "", scale)] if scale != "none" else edits)
        with faults.injected("configuration with changed keys and values", "before the first job"):
            refusal(lambda: plan(raw))

    check()


@few_and_many(50, 300)
def test_any_text_is_refused_as_a_configuration_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "config.yaml"
    words = st.sampled_from(
        ["scale: ", "&a ", "*a", "!!int ", '""', "2020-99-99", "\n", "- ", "{", "[", "? ", ": ", "<<"]
    )
    content = st.one_of(st.binary(max_size=40), st.lists(words, max_size=8).map(lambda parts: "".join(parts).encode()))

    @cases(count)
    @given(content)
    def check(text: bytes) -> None:
        path.write_bytes(text)
        with faults.injected("configuration of random text", "before the first job"):
            assert refusal(lambda: configuration.load(path))

    check()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": {"vae": {"title": "VAE", "hidden": [500, -1]}}}, ["models.vae.hidden.1", "-1"]),
        ({"training": RAW["training"] | {"learning_rate": float("nan")}}, ["training.learning_rate", "nan", "finite"]),
        ({"training": RAW["training"] | {"clip_norm": float("inf")}}, ["training.clip_norm", "inf", "finite"]),
        ({1: 2}, ["key 1", "plain text"]),
        ({"scales": RAW["scales"] | {"tiny\n": {"title": "x"}}}, ["scales", "tiny\\n"]),
        ({"data_folder": "a\nb"}, ["data_folder", "one line"]),
        (
            {"scale": "demo", "scales": RAW["scales"] | {"demo": {"title": "x", "replace": {"mnist": "mnits"}}}},
            ["mnits"],
        ),
        ({"analyses": RAW["analyses"] | {"likelihood": {}}}, ["analyses.likelihood", "samples"]),
    ],
)
def test_what_a_schema_lets_pass_is_refused_by_its_name(change: dict[Any, Any], words: list[str]) -> None:
    line = refusal(lambda: plan(RAW | change))
    for word in words:
        assert word in line


def test_a_configuration_that_holds_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("&a {scales: *a}")
    assert "recursive" in refusal(lambda: configuration.load(tmp_path / "config.yaml"))
