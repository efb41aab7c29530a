"""What is shown of disabled memories, in numbers (`detail`) and as images (`fig6`), where the answer is known."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from memvae.analyses.detail.show import detail, jackknife, local_detail
from memvae.analyses.generation.show import condition_titles, fig6
from memvae.errors import InputError
from memvae.files import store
from memvae.report import render, statistics, style, table
from memvae.report.claims import PARTLY
from memvae.report.paper import read_paper
from memvae.report.view import View

PAPER = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")
IMAGES = ("low/", "high/", "cross_", "chance_", "spectrum/", "coherence/")  # arrays about images


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def view(folder: Path, analysis: str = "detail", seeds: int = 1, title: str = "MEM-VAE") -> View:
    row = {**synthetic.row("mem_vae", seeds=seeds), "title": title}
    files = [getattr(synthetic, analysis)(folder, run) for run in row["runs"]]
    part = {"analysis": analysis, "module": "", "layout": synthetic.layout(row), "inputs": files}
    return render.view(part, PAPER)


def change(found: View, names: tuple[str, ...], to: Any) -> None:
    """Replaces the arrays whose names begin so in every file, by `to` of what was there."""
    for file in found.done:
        for name in file.arrays:
            if name.startswith(names):
                file.arrays[name] = to(file.array(name))


def written(found: View, folder: Path) -> str:
    """The table in all its formats, and the measurements."""
    table.write(detail(found), folder / "detail.csv")
    formats = [(folder / f"detail.{ending}").read_text() for ending in ("csv", "md", "tex")]
    return "\n".join([*formats, table.as_csv(render.measurements([found]))])


def number(found: View, quantity: str, condition: str) -> statistics.Measured:
    (row, _), *_ = found.rows
    one = found.number(row, quantity, condition)
    assert one is not None
    return one


def test_numbers_of_known_energies(tmp_path: Path) -> None:
    """Energies 1, 3 below and 1, 2 above; disabled ones half above, of which half is shared (synthetic.detail)."""
    found = view(tmp_path)
    expected = {
        ("energy_low", "full"): 2.0,
        ("energy_high", "data"): 1.5,
        ("share_high", "full"): 100 * 1.5 / 3.5,
        ("kept_low", "first"): 100.0,
        ("kept_high", "both"): 50.0,
        ("coherence_high", "both"): 0.25 / np.sqrt(0.5),
        ("chance_low", "first"): 0.5,
        ("log_likelihood", "full"): -85.0,
        ("change", "both"): -5.0,
        ("bound_change", "first"): -2.0,
    }
    assert {key: number(found, *key).mean for key in expected} == pytest.approx(expected)
    assert number(found, "energy_high", "full").error == pytest.approx(0.5)  # of 1 and 2
    assert number(found, "change", "both").error == pytest.approx(2.5)  # of -2.5 and -7.5
    assert {one.condition for one in found.numbers} == {"data", "full", "first", "both"}
    assert not any("spectrum" in one.quantity for one in found.numbers)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=50)
    mean, error = jackknife(lambda one: one, values)
    assert (mean, error) == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(50)))


def test_seeds_have_independent_draws_and_the_same_test_images(tmp_path: Path) -> None:
    one, four = view(tmp_path / "one"), view(tmp_path / "four", seeds=4)
    energies, likelihoods = (
        [number(found, name, "full") for found in (one, four)] for name in ("energy_high", "log_likelihood")
    )
    assert energies[1].error == pytest.approx(energies[0].error / 2)
    assert likelihoods[1].error == pytest.approx(likelihoods[0].error)
    assert number(four, "energy_high", "data").seeds == 1


def test_images_without_any_variance_leave_cells_empty(tmp_path: Path) -> None:
    found = view(tmp_path)
    change(found, IMAGES, np.zeros_like)
    (full,) = (one for one in detail(found).records if one.get("condition") == "full")
    assert full["energy_high"] == 0.0 and full.get("share_high") is None
    assert not any("share" in one.quantity for one in found.numbers)
    text = written(found, tmp_path)
    assert "nan" not in text.lower()
    assert local_detail(found) is None


def test_one_image_with_variance_has_numbers_without_errors(tmp_path: Path) -> None:
    """Without that image there is no energy to relate to, so leaving it out gives no number."""
    found = view(tmp_path)
    change(found, IMAGES[:4], lambda values: values * [0, 1])
    kept = number(found, "kept_high", "both")
    assert kept.mean == pytest.approx(50) and kept.error is None
    assert "nan" not in written(found, tmp_path).lower()
    assert local_detail(found) is None  # no verdict without an error


def test_a_single_test_image_has_no_standard_error(tmp_path: Path) -> None:
    found = view(tmp_path)
    change(found, ("low/data", "high/data", "log_", "bound/"), lambda values: values[:1])
    errors = {one.error for one in found.numbers if one.n == 1}
    assert errors == {None}
    assert "nan" not in written(found, tmp_path).lower()
    claim = local_detail(found)
    assert claim and "changes by -2.5 nats. A part" in claim.text  # no `standard error 0.0`


def test_a_pattern_that_every_draw_shares_is_not_said_to_stay(tmp_path: Path) -> None:
    """Where all images are alike, coherence with another draw's is 1 too."""
    found = view(tmp_path)
    (file,) = found.done
    file.array("chance_low/both")[:] = file.array("cross_low/both")[:]
    claim = local_detail(found)
    assert claim and claim.verdict == PARTLY  # detail alone fades


@pytest.mark.parametrize("setting", ["samples", "images", "draws", "cutoff"])
def test_seeds_with_other_settings_are_refused(tmp_path: Path, setting: str) -> None:
    found = view(tmp_path, seeds=2)
    found.done[1].settings[setting] = 7
    with pytest.raises(InputError, match=rf"detail.h5: settings.{setting} is 7, expected"):
        _ = found.numbers


# ---- the names of the conditions ------------------------------------------------------------------------------------
NAMES = {
    1: ["full memory", "memory disabled"],
    2: ["full memory", "first layer disabled", "both layers disabled"],
    3: ["full memory", "first layer disabled", "all layers disabled"],
}


def with_layers(found: View, layers: int) -> View:
    for file in found.done:
        file.spec["network"]["hidden"] = [5] * layers
    return found


@pytest.mark.parametrize("layers", NAMES)
def test_conditions_are_named_by_the_layers_of_the_network(tmp_path: Path, layers: int) -> None:
    found = with_layers(view(tmp_path), layers)
    assert list(condition_titles(found.done[0]).values()) == NAMES[layers]
    energy, likelihood, spectra = detail(found).sections
    assert [one["title"] for one in energy.records] == ["test images", *NAMES[layers]]
    assert [one["title"] for one in likelihood.records] == NAMES[layers]
    headings, _ = spectra.lines()
    disabled = [f"coherence, {name}" for name in NAMES[layers][1:]]
    assert headings == ["frequency", "period, pixels", "test images", *NAMES[layers], *disabled]
    assert local_detail(found) is not None


@pytest.mark.parametrize(("layers", "kept"), [(1, [0, 2]), (2, [0, 1, 2]), (3, [0, 1, 2])])
def test_figure_6_has_one_named_row_per_condition(tmp_path: Path, layers: int, kept: list[int]) -> None:
    found = with_layers(view(tmp_path, "generation"), layers)
    images = store.read(found.done[0].path, "analysis/generation").arrays["images"]
    with style.paper():
        rows = fig6(found).axes
    assert [" ".join(axes.texts[0].get_text().split()) for axes in rows] == NAMES[layers]
    for axes, place in zip(rows, kept, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[place, 0].reshape(synthetic.SIDE))
