"""The scorecard: verdicts with their boundaries, what is not judged, and our numbers from the analyses' files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from memvae.errors import InputError
from memvae.files import store
from memvae.report import render
from memvae.report.paper import Entry, read_paper, verdict
from memvae.settings import config as configuration
from memvae.settings import targets

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "config/paper.yaml"
CONFIG = configuration.load(ROOT / "config/config.yaml")
IMAGES = 10000  # MNIST's test images


def entry(table: str = "probing", value: float = 97.90, tolerance: float | None = 0.2, note: str = "") -> Entry:
    return Entry(table, "row", "column", value, tolerance, "A", note)


def make(layout: dict[str, Any], files: list[Path], folder: Path) -> pd.DataFrame:
    kinds = {analysis: [] for analysis in ("parameters", "likelihood", "slots", "probing")}
    for file in files:
        kinds[str(store.read(file).attributes["format"]).rpartition("/")[2]].append(file)
    without = not any(row["runs"] for row in layout["rows"])
    parts = {analysis: (layout, found) for analysis, found in kinds.items() if found or without}
    synthetic.draw("scorecard", "scorecard", parts, PAPER, folder / "out/scorecard.csv")
    return pd.read_csv(folder / "out/scorecard.csv", dtype=object, keep_default_na=False)


def as_configured(path: Path, config: configuration.Config = CONFIG) -> Path:
    """The file as a run of this configuration would write it, except for its numbers."""
    stored = store.read(path, "analysis")
    kind = str(stored.attributes["format"]).removeprefix("memvae/")
    spec = config.spec(stored.attributes["spec"]["run"])
    settings = targets.settings(config, kind.removeprefix("analysis/"), spec.dataset)
    attributes = {"spec": json.loads(spec.to_json()), "epoch": spec.training.epochs, "settings": settings}
    store.write(path, kind, stored.arrays, stored.attributes | attributes)
    return path


def likelihood(folder: Path, run: str, value: float, images: int = IMAGES, config: Any = CONFIG) -> Path:
    """As configured, with this mean."""
    values = np.full(images, value) + np.resize([-1, 1], images)
    return as_configured(synthetic.likelihood(folder, run, values), config)


def record(frame: pd.DataFrame, table: str, row: str, column: str) -> dict[str, str]:
    found = frame[(frame["table"] == table) & (frame["row"] == row) & (frame["column"] == column)]
    assert len(found) == 1
    return found.iloc[0].to_dict()


@pytest.mark.parametrize(
    ("ours", "word"),
    [
        (97.90, "match"),
        (98.10, "match"),  # the tolerance itself, above and below
        (97.70, "match"),
        (97.69, "near"),
        (98.30, "near"),  # twice the tolerance itself
        (97.50, "near"),
        (97.49, "off"),
        (98.31, "off"),
        (50.0, "off"),
        (float("nan"), "off"),
    ],
)
def test_verdict_follows_the_tolerance_and_includes_its_bounds(ours: float, word: str) -> None:
    assert verdict(entry(), ours, "") == (word, "")


@pytest.mark.parametrize(
    ("ours", "word", "note"),
    [
        (-85.67, "match", ""),
        (-85.82, "match", ""),
        (-85.83, "near", ""),
        (-85.97, "near", ""),
        (-85.98, "off", ""),
        (-85.60, "match", "above the paper's by 0.07"),
        (-85.40, "near", "above the paper's by 0.27"),
        (-65.67, "off", "above the paper's by 20.00"),
    ],
)
def test_likelihood_is_judged_in_both_directions(ours: float, word: str, note: str) -> None:
    assert verdict(entry("likelihood", -85.67, 0.15), ours, "") == (word, note)


def test_every_printed_number_has_a_line_without_any_input(tmp_path: Path) -> None:
    frame = make(synthetic.layout(synthetic.row("vae", seeds=0)), [], tmp_path)
    assert len(frame) == len(read_paper(PAPER).entries)
    assert set(frame["verdict"]) == {"not run"} and set(frame["ours"]) == {"not run"}
    assert set(frame["difference"]) == {""}


def test_parameters_are_compared_to_printed_thousands(tmp_path: Path) -> None:
    counts = {"mnist-vae": 1441500, "mnist-mem_vae": 1551001, "ocr_letters-vae": 163828}
    frame = make(synthetic.layout(synthetic.row("vae")), [synthetic.parameters(tmp_path, counts)], tmp_path)
    lines = [record(frame, "table3", row, "parameters") for row in (*counts, "ocr_letters-mem_vae")]
    assert [line["verdict"] for line in lines] == ["match", "off", "match", "not run"]
    assert float(lines[2]["difference"]) == -172


def test_likelihoods_of_any_k_join_when_their_runs_exist(tmp_path: Path) -> None:
    rows = [synthetic.row("mem_vae", seeds=2), synthetic.row("mem_vae", k=5), synthetic.row("large_vae", k=5)]
    values = {"mnist-mem_vae-k1-s0": -84.4, "mnist-mem_vae-k1-s1": -84.6, "mnist-mem_vae-k5-s0": -83.5}
    files = [likelihood(tmp_path, run, value) for run, value in values.items()]
    frame = make(synthetic.layout(*rows), files, tmp_path)
    first, fifth, large = (
        record(frame, "likelihood", row, "log_likelihood")
        for row in ("mnist-mem_vae-k1", "mnist-mem_vae-k5", "mnist-large_vae-k5")
    )
    assert float(first["ours"]) == pytest.approx(-84.5)
    assert float(first["difference"]) == pytest.approx(-0.09)
    assert float(first["spread"]) == pytest.approx(0.2 / np.sqrt(2))
    assert (first["seeds"], first["verdict"], first["samples"]) == ("2", "match", "5000")
    assert (fifth["spread"], fifth["verdict"]) == ("", "near")
    assert large["verdict"] == "not run"  # its row is there, its file is not


def test_probing_is_the_authors_classifier(tmp_path: Path) -> None:
    file = as_configured(synthetic.probing(tmp_path, "mnist-vae-k1-s0", right=9790, right_svc=5000, images=IMAGES))
    line = record(make(synthetic.layout(synthetic.row("vae")), [file], tmp_path), "probing", "mnist-vae", "accuracy")
    assert (float(line["ours"]), line["verdict"], line["images"]) == (pytest.approx(97.9), "match", "10000")


def vis_files(folder: Path, *preferences: np.ndarray) -> tuple[dict[str, Any], list[Path]]:
    row = synthetic.row("vis_mem_vae", seeds=len(preferences))
    layer1 = np.tile([0.7, 0.295, 0.005, 0.0], (10, 1))
    files = [
        as_configured(synthetic.slots(folder, run, {"layer0": values, "layer1": layer1}, tested=IMAGES))
        for run, values in zip(row["runs"], preferences, strict=True)
    ]
    return synthetic.layout(row), files


def test_table4_cells_are_shown_and_its_mean_is_judged(tmp_path: Path) -> None:
    top = np.linspace(0.41, 0.5, 10)  # mean 0.455: 0.14 above the paper's, between the tolerance and twice
    rest = np.outer(1 - top, [0.5, 0.3, 0.2])
    layout, files = vis_files(tmp_path, np.column_stack([top, rest]))
    frame = make(layout, files, tmp_path)
    cells = [record(frame, "table4", "1st", str(label)) for label in range(10)]
    np.testing.assert_allclose([float(cell["ours"]) for cell in cells], top)
    assert {cell["verdict"] for cell in cells} == {"not judged"}
    mean = record(frame, "table4", "1st", "mean")
    assert (float(mean["ours"]), mean["verdict"]) == (pytest.approx(0.455), "near")


def test_perplexity_and_correlation_go_to_their_classes(tmp_path: Path) -> None:
    uniform = np.full((10, 4), 0.25)
    uniform[1] = [0.97, 0.01, 0.01, 0.01]
    uniform[7] = uniform[9] = [0.1, 0.2, 0.3, 0.4]
    uniform[4] = [0.4, 0.3, 0.2, 0.1]
    uniform[[3, 5, 8]] += [0.0, 0.01, -0.01, 0.0]  # no constant rows among the correlated classes
    layout, files = vis_files(tmp_path, uniform)
    frame = make(layout, files, tmp_path)
    assert float(record(frame, "table4", "perplexity", "0")["ours"]) == pytest.approx(4.0)
    assert float(record(frame, "table4", "perplexity", "1")["ours"]) == pytest.approx(
        np.exp(-0.97 * np.log(0.97) - 0.03 * np.log(0.01))
    )
    same = record(frame, "table4", "correlation", "7-9")
    assert (float(same["ours"]), same["verdict"]) == (pytest.approx(1.0), "match")
    assert float(record(frame, "table4", "correlation", "4-9")["ours"]) == pytest.approx(-1.0)
    other = record(frame, "table4", "correlation", "largest other pair")  # 3, 5, 8 and 7, 9 are listed; 1-4 is left
    assert (float(other["ours"]), other["verdict"]) == (
        pytest.approx(np.corrcoef(uniform[1], uniform[4])[0, 1]),
        "not judged",
    )
    assert float(record(frame, "slots", "layer1", "used")["ours"]) == 2
    assert float(record(frame, "slots", "layer1 1st", "3")["ours"]) == pytest.approx(0.7)


def test_top_values_of_seeds_are_averaged_but_never_their_slots(tmp_path: Path) -> None:
    one = np.tile([0.8, 0.1, 0.06, 0.04], (10, 1))
    layout, files = vis_files(tmp_path, one, one[:, ::-1] * 0.5 + 0.125)  # favours another slot: 0.525
    line = record(make(layout, files, tmp_path), "table4", "1st", "0")
    assert float(line["ours"]) == pytest.approx((0.8 + 0.525) / 2)
    assert line["seeds"] == "2"


def test_a_stand_in_for_the_papers_data_has_no_verdict_but_counts_have(tmp_path: Path) -> None:
    rows = [synthetic.row("vae", here="digits")]
    files = [
        synthetic.likelihood(tmp_path, "digits-vae-k1-s0", [-85.0, -86.0]),
        synthetic.parameters(tmp_path, {"mnist-vae": 1440984, "mnist-mem_vae": 1551001}),
    ]
    frame = make(synthetic.layout(*rows, scale="demo"), files, tmp_path)
    counts = [record(frame, "table3", row, "parameters")["verdict"] for row in ("mnist-vae", "mnist-mem_vae")]
    assert counts == ["match", "off"]
    line = record(frame, "likelihood", "mnist-vae-k1", "log_likelihood")
    assert (line["verdict"], line["departs"]) == ("no verdict (dataset digits, not mnist)", "dataset digits, not mnist")
    assert (line["data"], line["epochs"]) == ("digits 8x8", "12")
    assert line["difference"] == ""  # other data than the paper's
    text = (tmp_path / "out/scorecard.md").read_text()
    assert "scale=demo: a short test" in text and "digits 8x8 (12 epochs)" in text
    assert "K = 5,000 on 2 test images" in text


def test_every_judged_number_of_the_configuration_at_the_papers_scale_has_a_verdict(tmp_path: Path) -> None:
    """So the protocol of config/paper.yaml and config/config.yaml cannot drift apart."""
    made = {
        "likelihood": lambda run: likelihood(tmp_path, run, -85.0),
        "probing": lambda run: as_configured(synthetic.probing(tmp_path, run, 9790, 9790, images=IMAGES)),
        "slots": lambda run: as_configured(synthetic.slots(tmp_path, run, tested=IMAGES)),
    }
    target = targets.target(CONFIG, "scorecard_extended")
    for part in target["parts"]:
        if part["analysis"] == "parameters":
            counts = {f"{row['dataset']}-{row['model']}": 1000 for row in targets.networks(CONFIG)}
            part["inputs"] = [synthetic.parameters(tmp_path, counts)]
        else:
            part["inputs"] = [made[part["analysis"]](run) for row in part["layout"]["rows"] for run in row["runs"]]
    render.write(target, PAPER, tmp_path / "scorecard.csv")
    frame = pd.read_csv(tmp_path / "scorecard.csv", dtype=object, keep_default_na=False)
    assert set(frame["departs"]) == {""} and len(frame) == len(read_paper(PAPER).entries)
    assert set(frame["verdict"]) <= {"match", "near", "off", "not judged"}


@pytest.mark.parametrize(
    ("changes", "departs"),
    [
        ({"datasets": {"mnist": {"training": {"epochs": 3, "constant_epochs": 1}}}}, "epochs 3, not 3,000"),
        ({"datasets": {"mnist": {"training": {"constant_epochs": 500}}}}, "constant_epochs 500, not 1,000"),
        ({"datasets": {"mnist": {"binarise": "never"}}}, "binarise never, not each_epoch"),
        ({"training": {"learning_rate": 0.1}}, "learning_rate 0.1, not 0.001"),
        ({"models": {"vae": {"hidden": [50, 50]}}}, "hidden [50, 50], not [500, 500]"),
        ({"models": {"vae": {"slots": [70, 30]}}}, "slots [70, 30], not [0, 0]"),
        ({"analyses": {"likelihood": {"samples": 5}}}, "samples 5, not 5,000"),
        ({"training": {"precision": "float32", "curve_every": 5, "reconstruction_draw": "second"}}, ""),
    ],
)
def test_the_name_of_the_scale_earns_no_verdict(tmp_path: Path, changes: dict[str, Any], departs: str) -> None:
    config = configuration.load(ROOT / "config/config.yaml", changes)
    assert config.scale == "paper"
    file = likelihood(tmp_path, "mnist-vae-k1-s0", -85.67, config=config)
    frame = make(synthetic.layout(synthetic.row("vae")), [file], tmp_path)
    line = record(frame, "likelihood", "mnist-vae-k1", "log_likelihood")
    assert (line["departs"], line["verdict"]) == (departs, f"no verdict ({departs})" if departs else "match")


def test_one_seed_or_fewer_images_that_depart_are_enough(tmp_path: Path) -> None:
    short = configuration.load(ROOT / "config/config.yaml", {"training": {"beta1": 0.5}})
    seeds = [
        likelihood(tmp_path, "mnist-vae-k1-s0", -85.67),
        likelihood(tmp_path, "mnist-vae-k1-s1", -85.67, config=short),
    ]
    frame = make(synthetic.layout(synthetic.row("vae", seeds=2)), seeds, tmp_path)
    assert record(frame, "likelihood", "mnist-vae-k1", "log_likelihood")["departs"] == "beta1 0.5, not 0.9"
    few = likelihood(tmp_path, "mnist-mem_vae-k1-s0", -84.41, images=10)
    frame = make(synthetic.layout(synthetic.row("mem_vae")), [few], tmp_path)
    assert record(frame, "likelihood", "mnist-mem_vae-k1", "log_likelihood")["departs"] == "images 10, not 10,000"


def test_half_of_the_seeds_is_refused(tmp_path: Path) -> None:
    file = synthetic.probing(tmp_path, "mnist-vae-k1-s0", 39, 38)
    with pytest.raises(InputError, match="mnist-vae-k1-s1"):
        make(synthetic.layout(synthetic.row("vae", seeds=2)), [file], tmp_path)
