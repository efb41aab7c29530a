"""Figures: what is drawn, which images are marked, notes below the paper's scale, equal bytes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memvae.analyses.curves.show import CURVES, NAMED
from memvae.errors import InputError
from memvae.files import store
from memvae.report import style

ANALYSIS_OF = {"fig6": "generation", "fig7": "slots", "fig8": "imputation", "training": "curves"}
NAMES = list(ANALYSIS_OF)


def write(name: str, layout: dict, files: list[Path], output: Path) -> None:
    synthetic.draw("figure", name, {ANALYSIS_OF[name]: (layout, files)}, None, output)


def inputs(folder: Path, name: str, scale: str = "paper") -> tuple[dict, list[Path]]:
    """Layout and files of a figure."""
    here = "mnist" if scale == "paper" else "digits"
    row = {model: synthetic.row(model, here=here) for model in synthetic.TITLES}
    run = {model: row[model]["runs"][0] for model in row}
    right = np.arange(70) % 3 > 0
    if name == "fig6":
        rows, files = [row["mem_vae"]], [synthetic.generation(folder, run["mem_vae"])]
    elif name == "fig7":
        rows, files = [row["vis_mem_vae"]], [synthetic.slots(folder, run["vis_mem_vae"])]
    elif name == "fig8":
        rows = [row["vae"], row["mem_vae"]]
        files = [synthetic.imputation(folder, run["vae"], right), synthetic.imputation(folder, run["mem_vae"], ~right)]
    else:
        rows, files = list(row.values()), [synthetic.model(folder, one) for one in run.values()]
    return synthetic.layout(*rows, scale=scale), files


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that `write` would have saved."""
    kept: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, output: kept.append(figure))
    return kept


def texts(figure: Figure) -> list[str]:
    """Every text of a figure: footer, titles, labels."""
    on_axes = [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title]]
    return [*(text.get_text() for text in figure.texts), *on_axes]


@pytest.mark.parametrize("name", NAMES)
def test_data_and_epochs_are_printed_always_and_the_scale_below_the_papers(
    tmp_path: Path, name: str, drawn: list[Figure]
) -> None:
    for scale in ("demo", "paper"):
        layout, files = inputs(tmp_path / scale, name, scale)
        write(name, layout, files, tmp_path / "figure.png")
    below, at_paper = (" ".join(" ".join(texts(figure)).split()) for figure in drawn)
    assert "scale=demo: a short test" in below and "digits 8x8 (12 epochs)" in below
    assert "scale=" not in at_paper and "(12 epochs)" in at_paper


def test_figure6_shows_every_draw_in_its_row(tmp_path: Path, drawn: list[Figure]) -> None:
    layout, files = inputs(tmp_path, "fig6")
    write("fig6", layout, files, tmp_path / "fig6.png")
    images = store.read(files[0], "analysis/generation").arrays["images"]
    axes = drawn[0].axes
    assert [len(row.images) for row in axes] == [20, 20, 20]
    shown = np.stack([[np.asarray(image.get_array()).ravel() for image in row.images] for row in axes])
    np.testing.assert_array_equal(shown, images)
    assert [row.texts[0].get_text() for row in axes] == [
        "full memory",
        "first layer\ndisabled",
        "both layers\ndisabled",
    ]


def test_figure7_shows_the_preferred_slots_with_their_values(tmp_path: Path, drawn: list[Figure]) -> None:
    layout, files = inputs(tmp_path, "fig7")
    write("fig7", layout, files, tmp_path / "fig7.png")
    arrays = store.read(files[0], "analysis/slots").arrays
    for rank, axes in enumerate(drawn[0].axes):
        shown = [np.asarray(image.get_array()).ravel() for image in axes.images]
        np.testing.assert_array_equal(shown, arrays["layer0/images"][arrays["layer0/top"][:, rank]])
        values = [text.get_text() for text in axes.texts if text.get_text().startswith("0.")]
        assert values == [f"{value:.2f}" for value in arrays["layer0/top_values"][:, rank]]
    heads = [text.get_text() for text in drawn[0].axes[0].texts if text.get_text().startswith("\u201c")]
    assert heads == [f"\u201c{label}\u201d" for label in range(10)]


def test_figure8_marks_what_the_competitor_alone_got_right(tmp_path: Path, drawn: list[Figure]) -> None:
    vae, mem = np.zeros(70, bool), np.zeros(70, bool)
    vae[[0, 9, 69]] = True  # 69 is not among the 64 images shown
    mem[[0, 12, 63]] = True
    rows = [synthetic.row("vae"), synthetic.row("mem_vae")]
    runs = [row["runs"][0] for row in rows]
    files = [synthetic.imputation(tmp_path, run, right) for run, right in zip(runs, (vae, mem), strict=True)]
    write("fig8", synthetic.layout(*rows), files, tmp_path / "fig8.png")
    panels = drawn[0].axes
    marked = [
        sorted(8 * int(box.get_y()) + int(box.get_x()) for box in axes.patches if isinstance(box, Rectangle))
        for axes in panels
    ]
    assert marked == [[], [], [12, 63], [9]]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["(a) test data", "(b) left half missing", "(c) VAE: 4.3 %", "(d) MEM-VAE: 4.3 %"]
    assert any("99.12 %" in text and "70 test images" in " ".join(text.split()) for text in texts(drawn[0]))


def test_figure8_mosaic_keeps_images_in_reading_order(tmp_path: Path, drawn: list[Figure]) -> None:
    layout, files = inputs(tmp_path, "fig8")
    write("fig8", layout, files, tmp_path / "fig8.png")
    picture = np.asarray(drawn[0].axes[0].images[0].get_array())
    rows, columns = synthetic.SIDE
    truth = store.read(files[0], "analysis/imputation").arrays["truth"]
    for index in (0, 1, 10, 63):
        top, left = (index // 8) * (rows + 1), (index % 8) * (columns + 1)
        np.testing.assert_allclose(picture[top : top + rows, left : left + columns].ravel(), truth[index])


def test_figure8_of_one_model_marks_nothing_and_two_must_be_of_the_same_images(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    layout, files = inputs(tmp_path, "fig8")
    write("fig8", {**layout, "rows": layout["rows"][:1]}, files[:1], tmp_path / "fig8.png")
    assert len(drawn[0].axes) == 3 and not any(axes.patches for axes in drawn[0].axes)
    assert "Red" not in "".join(text.get_text() for text in drawn[0].texts)
    run = layout["rows"][1]["runs"][0]
    files[1] = synthetic.imputation(tmp_path, run, np.ones(80, bool))
    with pytest.raises(InputError, match="labels differ"):
        write("fig8", layout, files, tmp_path / "fig8.png")


def test_training_has_a_panel_per_data_set_and_lines_per_run(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [synthetic.row("vae", seeds=2), synthetic.row("mem_vae", k=5), synthetic.row("vae", dataset="ocr_letters")]
    runs = [run for row in rows for run in row["runs"]]
    files = [synthetic.model(tmp_path, run, level=-90.0 - place) for place, run in enumerate(runs)]
    write("training", synthetic.layout(*rows), files, tmp_path / "training.png")
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == ["MNIST", "OCR-letters"]
    assert [len(axes.lines) for axes in panels] == [6, 2]  # test and training images of each run
    curves = store.read(files[0], "model").group("curves")
    np.testing.assert_array_equal(panels[0].lines[0].get_ydata(), curves["test_bound"])
    np.testing.assert_array_equal(panels[0].lines[1].get_ydata(), curves["train_bound_collected"])
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["VAE, K = 1", "MEM-VAE, K = 5", "test images", "training images"]


def test_training_of_many_seeds_shows_their_mean_and_a_band_of_one_standard_deviation(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    row = synthetic.row("vae", seeds=CURVES + 1)
    files = [synthetic.model(tmp_path, run, -90 - seed) for seed, run in enumerate(row["runs"])]
    write("training", synthetic.layout(row), files, tmp_path / "training.png")
    (axes,) = drawn[0].axes
    curves = np.stack([store.read(file, "model").arrays["curves/test_bound"] for file in files])
    assert len(axes.lines) == 2  # test and training images
    np.testing.assert_allclose(axes.lines[0].get_ydata(), curves.mean(axis=0))
    (band,) = axes.collections
    (last,) = {y for x, y in band.get_paths()[0].vertices if x == 40 and y > curves.mean(axis=0)[-1]}
    assert last == pytest.approx(curves.mean(axis=0)[-1] + curves.std(axis=0, ddof=1)[-1])


def test_training_of_many_models_names_those_with_the_highest_last_bound(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [synthetic.row("mem_vae", k=k) for k in range(1, NAMED + 2)]
    files = [synthetic.model(tmp_path, row["runs"][0], -90 + row["k"]) for row in rows]
    write("training", synthetic.layout(*rows), files, tmp_path / "training.png")
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    best = [f"MEM-VAE, K = {k}" for k in range(NAMED + 2 - len(style.COLOURS), NAMED + 2)]
    assert labels == [*best, "test images", "training images", "others, test images"]
    assert any("the other 8 models" in text for text in texts(drawn[0]))


def test_seeds_with_other_epochs_are_not_averaged(tmp_path: Path) -> None:
    row = synthetic.row("vae", seeds=CURVES + 1)
    files = [synthetic.model(tmp_path, run, epochs=44 if seed == 3 else 40) for seed, run in enumerate(row["runs"])]
    with pytest.raises(InputError, match=f"{row['runs'][3]}.*other epochs"):
        write("training", synthetic.layout(row), files, tmp_path / "training.png")


def test_what_draws_imports_no_torch() -> None:
    code = (
        "import sys; from memvae.settings import registry; from memvae.report import page, render; "
        "[registry.find(name).part('show') for name in registry.shipped()]; "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
