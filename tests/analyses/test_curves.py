"""Learning curves: last points, points of the page, records; figures are tested with the others."""

from pathlib import Path

import pytest
import synthetic

from memvae.analyses.curves.show import FIGURES, ON_PAGE, RECORDS, findings, points, records
from memvae.errors import InputError
from memvae.report import render
from memvae.report.paper import read_paper
from memvae.report.view import View

PAPER = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")


def view(folder: Path, seeds: int = 1, epochs: int = 40) -> View:
    """The bound of epoch e is level - 50 / e on test images, 1 nat more on training images; MEM-VAE's level is -85."""
    rows = [synthetic.row(model, seeds=seeds) for model in ("vae", "mem_vae")]
    files = [
        synthetic.model(folder, run, level, epochs)
        for row, level in zip(rows, (-90.0, -85.0), strict=True)
        for run in row["runs"]
    ]
    part = {"analysis": "curves", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    return render.view(part, PAPER)


def test_the_last_bounds_of_each_run_are_measured(tmp_path: Path) -> None:
    found = view(tmp_path, seeds=2)
    measured = {(one.row.model, one.quantity): one for one in found.numbers}
    assert {key: one.values for key, one in measured.items()} == {
        ("vae", "test_bound"): (-91.25, -91.25),
        ("vae", "train_bound"): (-90.25, -90.25),
        ("mem_vae", "test_bound"): (-86.25, -86.25),
        ("mem_vae", "train_bound"): (-85.25, -85.25),
    }
    assert {(one.unit, one.error) for one in measured.values()} == {("nats", None)}


def test_records_are_every_point_of_every_run(tmp_path: Path) -> None:
    found = records(view(tmp_path, seeds=2))
    runs = [f"mnist-{model}-k1-s{seed}" for model in ("vae", "mem_vae") for seed in (0, 1)]
    assert [(one["run"], one["epoch"]) for one in found] == [(run, epoch) for run in runs for epoch in range(4, 41, 4)]
    assert found[0] == {"run": runs[0], "epoch": 4, "test_bound": -102.5, "train_bound": -101.5}


def test_the_page_prints_some_points_and_the_last(tmp_path: Path) -> None:
    """Of 10 points the last, and others about equally spaced in the logarithm."""
    section = points(view(tmp_path))
    headings, lines = section.lines()
    assert headings == ["run", "epoch: test bound (training minus test), nats"]
    assert lines[0] == [
        "mnist-vae-k1-s0",
        "12: -94.17 (+1.00); 20: -92.50 (+1.00); 28: -91.79 (+1.00); 40: -91.25 (+1.00)",
    ]
    assert len(lines) == 2


def test_the_page_says_which_bound_ends_highest_and_what_it_still_gains(tmp_path: Path) -> None:
    """From the seventh of ten points to the last: 50 / 28 - 50 / 40."""
    assert findings(view(tmp_path)) == [
        "MNIST: MEM-VAE ends highest (-86.25 nats on test images), VAE lowest (-91.25); in the last quarter of its "
        "points the bound of MEM-VAE changes by +0.54 nats."
    ]


def test_a_curve_of_one_point_has_that_point(tmp_path: Path) -> None:
    _, lines = points(view(tmp_path, epochs=4)).lines()
    assert lines[0][1] == "4: -102.50 (+1.00)"


@pytest.mark.parametrize("make", [*FIGURES.values(), *RECORDS.values(), *ON_PAGE.values(), lambda view: view.numbers])
def test_an_empty_curve_is_refused_by_its_file(tmp_path: Path, make) -> None:
    found = view(tmp_path, epochs=3)  # the first point is at epoch 4
    with pytest.raises(InputError, match=r"mnist-vae-k1-s0/model.h5: its learning curve is empty"):
        make(found)
