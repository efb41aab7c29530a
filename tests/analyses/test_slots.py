"""Table 4, the table of slots, Figure 7 and the claims for data that are not ten digits, few ranks, several seeds."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure

from memvae.analyses.slots import show
from memvae.analyses.slots.compute import correlation
from memvae.errors import InputError
from memvae.report import render, scorecard, statistics, style, table
from memvae.report.claims import OPEN
from memvae.report.paper import read_paper
from memvae.report.view import View

PAPER = read_paper(Path(__file__).resolve().parents[2] / "config/paper.yaml")

pytestmark = pytest.mark.filterwarnings("error")


def view(
    folder: Path,
    model: str = "vis_mem_vae",
    dataset: str = "mnist",
    here: str | None = None,
    seeds: int = 1,
    **file: Any,
) -> View:
    """Of one model. here: the data set that stands for `dataset`; file: of `synthetic.slots`."""
    row = synthetic.row(model, seeds=seeds, dataset=dataset, here=here)
    files = [synthetic.slots(folder, run, seed=seed, **file) for seed, run in enumerate(row["runs"])]
    part = {"analysis": "slots", "module": "", "layout": synthetic.layout(row), "inputs": files}
    return render.view(part, PAPER)


def texts(figure: Figure) -> list[str]:
    return [*(one.get_text() for one in figure.texts), *(one.get_text() for axes in figure.axes for one in axes.texts)]


def heads(figure: Figure) -> list[list[str]]:
    """The classes' names above the images, row by row of images that have any."""
    named = [[one.get_text() for one in axes.texts if one.get_text().startswith("\u201c")] for axes in figure.axes]
    return [names for names in named if names]


def everything(found: View) -> str:
    """All that is shown: tables in both forms, measurements, figure, claims."""
    tables = [make(found) for make in show.TABLES.values()]
    written = [
        text for one in tables for text in (table.as_csv(one.records), table.as_markdown(one), table.as_latex(one))
    ]
    claims = [repr(claim) for judge in show.CLAIMS if (claim := judge(found))]
    return "\n".join(
        [*written, table.as_csv(statistics.measurements(found.numbers)), *texts(show.fig7(found)), *claims]
    )


def uniform(classes: int, slots: int) -> dict[str, np.ndarray]:
    return {"layer0": np.full((classes, slots), 1 / slots)}


@pytest.mark.parametrize(("classes", "blocks"), [(1, [1]), (2, [2]), (10, [10]), (23, [10, 10, 3]), (40, [10] * 4)])
def test_figure7_breaks_into_rows_of_ten_classes(tmp_path: Path, classes: int, blocks: list[int]) -> None:
    figure = show.fig7(view(tmp_path, dataset="silhouettes", classes=classes))
    assert [len(names) for names in heads(figure)] == blocks
    assert [name for names in heads(figure) for name in names] == [f"\u201c{label}\u201d" for label in range(classes)]
    wide, tall = figure.get_size_inches()
    assert len(figure.axes) == 3 * len(blocks) and tall < 13
    assert wide == (style.COLUMN if classes < 5 else style.PAGE)
    image = figure.axes[0].get_position().width * wide / (1.12 * blocks[0] - 0.12)
    assert 0.5 < image < 1  # inches


def test_figure7_of_101_classes_shows_the_forty_with_most_test_images_and_says_so(tmp_path: Path) -> None:
    found = view(tmp_path, dataset="silhouettes", classes=101)
    figure = show.fig7(found)
    names = [name for block in heads(figure) for name in block]
    assert names == [f"\u201c{label}\u201d" for label in range(61, 101)]  # later classes have more
    assert "of 101 classes the 40 with most test images" in " ".join(" ".join(texts(figure)).split())
    file = found.done[0]
    shown = np.asarray(figure.axes[-1].images[-1].get_array()).ravel()  # the third slot of the last class
    np.testing.assert_array_equal(shown, file.array("layer0/images")[file.array("layer0/top")[100, 2]])


@pytest.mark.parametrize("classes", [1, 2, 101])
def test_own_data_know_no_digit_no_number_of_the_papers_and_no_nan(tmp_path: Path, classes: int) -> None:
    found = view(tmp_path, dataset="silhouettes", classes=classes)
    text = everything(found)
    assert "nan" not in text and "digit" not in text and "paper:" not in text
    assert not any(one.paper for one in found.numbers)
    assert all(record["paper_1"] is None for record in show.table4(found).records)


@pytest.mark.parametrize("here", ["silhouettes", "digits"])
def test_the_papers_lines_stand_beside_the_papers_data_alone(tmp_path: Path, here: str) -> None:
    found = view(tmp_path, here=here)
    assert "paper:" not in table.as_markdown(show.table4(found))
    assert {record["paper_1"] for record in show.table4(found).records} == {None}
    assert "used in the paper" not in table.as_markdown(show.slots(found))
    assert "paper: perplexity" in table.as_markdown(show.table4(view(tmp_path / "own")))
    assert "used in the paper" in table.as_markdown(show.slots(view(tmp_path / "slots")))


def test_classes_of_other_data_in_the_place_of_mnist_are_no_digits(tmp_path: Path) -> None:
    """Their classes 7 and 9 have nothing to do with the paper's."""
    assert not any(one.paper for one in view(tmp_path, here="silhouettes").numbers)
    assert any(one.paper for one in view(tmp_path, here="digits").numbers)
    assert [judge(view(tmp_path / "a", here="silhouettes")) for judge in show.CLAIMS] == [None, None]


@pytest.mark.parametrize("top", [1, 2, 7])
def test_other_numbers_of_shown_slots_work_everywhere(tmp_path: Path, top: int) -> None:
    found = view(tmp_path, top=top)
    assert "nan" not in everything(found)
    assert len(show.fig7(found).axes) == top
    of_card = {(one["row"], one["column"]): one["ours"] for one in scorecard.build([found], PAPER).records}
    assert (of_card["3rd", "0"] == table.NOT_RUN) == (top < 3) and of_card["1st", "mean"] != table.NOT_RUN
    assert of_card["layer1 1st", "4"] == found.done[0].array("layer1/top_values")[4, 0]


def test_every_entry_of_the_papers_tables_has_a_number_of_each_seed(tmp_path: Path) -> None:
    found = view(tmp_path, seeds=3)
    ours = {one.paper: one for one in found.numbers if one.paper}
    entries = [(one.table, one.row, one.column) for name in ("table4", "slots") for one in PAPER.of(name)]
    assert all(ours[entry].seeds == 3 and ours[entry].n == synthetic.IMAGES for entry in entries)
    files, (mean, pair, other) = (
        found.done,
        (
            ours["table4", row, column].values
            for row, column in (("1st", "mean"), ("correlation", "7-9"), ("correlation", "largest other pair"))
        ),
    )
    assert mean == pytest.approx([file.array("layer0/preferences").max(axis=1).mean() for file in files])
    assert pair == tuple(file.array("layer0/correlation")[7, 9] for file in files)
    assert all(one >= file.array("layer0/correlation")[0, 1] for one, file in zip(other, files, strict=True))
    assert ours["slots", "layer1", "used"].values == tuple(
        float((file.array("layer1/preferences") > 0.01).any(axis=0).sum()) for file in files
    )


def test_table4_over_seeds_has_mean_and_standard_deviation_also_of_the_mean_over_classes(tmp_path: Path) -> None:
    found = view(tmp_path, seeds=3)
    section = next(one for one in show.table4(found).sections if "over 3 seeds" in one.title)
    headings, lines = section.lines()
    values = np.array([file.array("layer0/top_values")[:, 0] for file in found.done])  # [seeds, classes]
    expected = [*values.T, values.mean(axis=1)]
    assert headings == ["", *(str(label) for label in range(10)), "mean"]
    assert lines[0] == ["1st", *(f"{one.mean():.2f} ({one.std(ddof=1):.2f})" for one in expected)]
    assert [line[0] for line in lines] == ["1st", "2nd", "3rd", "perplexity"]


def test_seeds_with_another_number_of_shown_slots_are_refused(tmp_path: Path) -> None:
    row = synthetic.row("vis_mem_vae", seeds=2)
    files = [synthetic.slots(tmp_path, run, top=top) for run, top in zip(row["runs"], (3, 1), strict=True)]
    part = {"analysis": "slots", "module": "", "layout": synthetic.layout(row), "inputs": files}
    with pytest.raises(InputError, match=r"s1/slots\.h5: settings\.top is 1, expected 3"):
        show.table4(render.view(part, PAPER)).sections  # noqa: B018


def test_a_model_without_memory_next_to_the_data_is_refused_by_name_in_figure7_alone(tmp_path: Path) -> None:
    upper = {"layer1": np.random.default_rng(0).dirichlet(np.ones(5), size=10)}
    found = view(tmp_path, preferences=upper)
    with pytest.raises(InputError, match=r"^fig7: VIS-MEM-VAE: no memory .* analyses\.slots\.models$") as refused:
        show.fig7(found)
    assert "\n" not in str(refused.value)
    assert [judge(found) for judge in show.CLAIMS] == [None, None]
    assert "layer 2 from the data" in table.as_markdown(show.table4(found))


def test_figure7_shows_the_first_model_that_has_memory_next_to_the_data(tmp_path: Path) -> None:
    rows = [synthetic.row("vis_mem_vae"), synthetic.row("mem_vae")]
    upper = {"layer1": np.random.default_rng(0).dirichlet(np.ones(5), size=10)}
    files = [synthetic.slots(tmp_path, rows[0]["runs"][0], upper), synthetic.slots(tmp_path, rows[1]["runs"][0])]
    part = {"analysis": "slots", "module": "", "layout": synthetic.layout(*rows), "inputs": files}
    assert any(
        re.search(r"; MEM-VAE, seed 0", " ".join(text.split())) for text in texts(show.fig7(render.view(part, PAPER)))
    )


@pytest.mark.parametrize(("classes", "slots"), [(10, 256), (10, 4), (10, 1), (2, 4), (1, 4)])
def test_what_does_not_exist_is_an_empty_cell(tmp_path: Path, classes: int, slots: int) -> None:
    """Classes that prefer all slots alike have no correlation; with 256 slots none is in use."""
    found = view(tmp_path, preferences=uniform(classes, slots), class_means=np.zeros((classes, synthetic.PIXELS)))
    assert "nan" not in everything(found)
    assert not [one for one in found.numbers if one.quantity == "correlation"]
    verdicts = [claim.verdict for judge in show.CLAIMS if (claim := judge(found))]
    assert verdicts == [OPEN] * (2 if classes == 10 else 1)


@pytest.mark.parametrize("values", [[[0.2, 0.8]], [[1.0], [1.0]], [[0.5, 0.5], [0.1, 0.9]]])
def test_correlation_of_one_class_one_slot_or_equal_preferences_warns_of_nothing(values: Sequence[Any]) -> None:
    found = correlation(np.array(values))
    assert found.shape == (len(values), len(values)) and not np.isfinite(found[0, 1:]).any()


def test_correlation_is_pearsons() -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(6), size=3)
    np.testing.assert_array_equal(correlation(values), np.corrcoef(values))
