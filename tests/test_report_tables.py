"""Tables against numbers computed by hand; rows that were not run; seeds; notes; refusals; equal bytes."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

import memvae
from memvae.analyses.likelihood.show import of_all_images
from memvae.errors import InputError
from memvae.report import table
from memvae.settings import registry

PAPER = Path(__file__).resolve().parents[1] / "config/paper.yaml"


ANALYSIS_OF = {
    name: path.parent.name
    for path in (Path(memvae.__file__).parent / "analyses").glob("*/__init__.py")
    for name in registry.find(path.parent.name).declared.tables
}


def make(name: str, layout: dict[str, Any], files: list[Path], folder: Path) -> pd.DataFrame:
    """Writes a table and reads its .csv back, text where it is no number."""
    output = folder / "tables" / f"{name}.csv"
    synthetic.draw("table", name, {ANALYSIS_OF[name]: (layout, files)}, PAPER, output)
    return pd.read_csv(output, dtype=object, keep_default_na=False)


def record(frame: pd.DataFrame, **where: str) -> dict[str, str]:
    """The only line in which the columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0].to_dict()


def likelihood_files(folder: Path, values: dict[str, Any]) -> list[Path]:
    return [synthetic.likelihood(folder, run, numbers) for run, numbers in values.items()]


# ---- Table 3 --------------------------------------------------------------------------------------------------------
def test_table3_has_exact_counts_beside_the_papers_thousands(tmp_path: Path) -> None:
    counts = {"mnist-vae": 1440984, "mnist-mem_vae": 1550084, "mnist-vis_mem_vae": 1541084}
    rows = [synthetic.row(model) for model in ("vae", "mem_vae", "vis_mem_vae")]
    frame = make("table3", synthetic.layout(*rows), [synthetic.parameters(tmp_path, counts)], tmp_path)
    vae = record(frame, row="mnist-vae")
    assert (vae["parameters"], vae["paper"], vae["difference"]) == ("1440984", "1441000", "-16")
    assert vae["paper_name"] == "MNIST-500-500-100"
    assert record(frame, row="mnist-vis_mem_vae")["paper"] == ""
    assert record(frame, row="ocr_letters-vae")["parameters"] == "not run"
    text = (tmp_path / "tables/table3.md").read_text()
    assert "1,440,984" in text and "1,441K" in text


# ---- likelihood -----------------------------------------------------------------------------------------------------
def test_likelihood_has_mean_and_standard_error_over_images(tmp_path: Path) -> None:
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": [-80.0, -90.0, -85.0, -89.0]})
    line = record(make("likelihood", synthetic.layout(synthetic.row("vae")), files, tmp_path), row="mnist-vae-k1")
    assert float(line["log_likelihood"]) == -86.0
    assert float(line["standard_error"]) == pytest.approx(math.sqrt((36 + 16 + 1 + 9) / 3) / 2)
    assert (line["paper"], line["seeds"], line["sd"]) == ("-85.67", "1", "")
    assert float(line["difference"]) == pytest.approx(-0.33)
    assert (line["samples"], line["images"], line["epochs"], line["data"]) == ("5000", "4", "12", "MNIST")


def test_likelihood_shows_the_bound_its_parts_and_train_minus_test(tmp_path: Path) -> None:
    file = synthetic.likelihood(tmp_path, "mnist-vae-k1-s0", [-85.0, -86.0], bound=[-90.0, -91.0, -92.0])
    line = record(make("likelihood", synthetic.layout(synthetic.row("vae")), [file], tmp_path), row="mnist-vae-k1")
    numbers = [float(line[name]) for name in ("bound", "log_px", "kl", "train_minus_test", "bound_images")]
    assert numbers == [-91.0, -66.0, 25.0, 1.5, 3.0]


def test_likelihood_over_seeds_has_mean_and_standard_deviation(tmp_path: Path) -> None:
    files = likelihood_files(
        tmp_path,
        {"mnist-vae-k1-s0": [-85.0, -87.0], "mnist-vae-k1-s1": [-86.0, -88.0], "mnist-vae-k1-s2": [-87.0, -89.0]},
    )
    row = synthetic.row("vae", seeds=3)
    line = record(make("likelihood", synthetic.layout(row), files, tmp_path), row="mnist-vae-k1")
    assert (float(line["log_likelihood"]), float(line["sd"]), line["seeds"]) == (-87.0, 1.0, "3")
    assert float(line["standard_error"]) == pytest.approx(1.0)  # of the image means -86 and -88
    assert line["runs"] == "mnist-vae-k1-s0 mnist-vae-k1-s1 mnist-vae-k1-s2"


def test_likelihood_with_more_samples_names_their_number(tmp_path: Path) -> None:
    file = synthetic.likelihood(tmp_path, "ocr_letters-vae-k1-s0", [-30.0, -31.0], more=[-29.0, -30.0])
    row = synthetic.row("vae", dataset="ocr_letters")
    line = record(make("likelihood", synthetic.layout(row), [file], tmp_path), row="ocr_letters-vae-k1")
    assert (line["log_likelihood_more"], line["samples_more"], line["paper"]) == ("-29.5", "100000", "")
    assert "-29.50 |" in (tmp_path / "tables/likelihood.md").read_text()


def test_gap_is_paired_over_the_same_images(tmp_path: Path) -> None:
    base = np.array([-60.0, -100.0, -80.0, -120.0])
    steps = np.array([1.0, 1.2, 1.4, 1.6])
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": base, "mnist-mem_vae-k1-s0": base + steps})
    layout = synthetic.layout(synthetic.row("vae"), synthetic.row("mem_vae"))
    line = record(make("likelihood", layout, files, tmp_path), row="mnist-mem_vae-k1 minus mnist-vae-k1")
    assert float(line["log_likelihood"]) == pytest.approx(1.3)
    assert float(line["standard_error"]) == pytest.approx(steps.std(ddof=1) / 2)  # not that of the 40-nat spread
    assert (line["images"], line["paper"], line["sd"]) == ("4", "1.26", "")


def test_the_log_likelihood_of_all_images_is_estimated_with_the_bound_of_those_without(tmp_path: Path) -> None:
    """L_K of the first three images of five, which are easier than the others."""
    bound, above = np.array([-80.0, -82.0, -81.0, -95.0, -97.0]), np.array([4.0, 5.0, 4.5])
    file = synthetic.likelihood(tmp_path, "mnist-vae-k1-s0", bound[:3] + above, bound=bound)
    line = record(make("likelihood", synthetic.layout(synthetic.row("vae")), [file], tmp_path), row="mnist-vae-k1")
    assert float(line["log_likelihood"]) == pytest.approx(-87.0 + 4.5) and line["images"] == "3"
    variance = above.var() / 3 + (bound.var() + 2 * ((above - 4.5) * (bound[:3] + 87.0)).mean()) / 5
    assert float(line["standard_error"]) == pytest.approx(math.sqrt(variance * 5 / 4))
    assert "is an estimate for all of them" in (tmp_path / "tables/likelihood.md").read_text()


def test_the_estimate_for_all_images_and_its_error_are_right_on_average() -> None:
    """Images in random order, L_K of the first tenth: unbiased, and as uncertain as it says."""
    rng, found = np.random.default_rng(0), []
    bound = rng.normal(-90, 20, 1000)
    above = 4 + 0.1 * (-90 - bound) + rng.normal(0, 1, 1000)
    for _ in range(2000):
        order = rng.integers(0, 1000, 1000)  # another sample of the same population
        arrays = {"test/bound": bound[order], "test/log_likelihood": (bound + above)[order][:100]}
        values = of_all_images(SimpleNamespace(array=arrays.__getitem__))  # type: ignore[arg-type]
        found.append((values.mean(), values.std(ddof=1) / math.sqrt(1000)))
    means, errors = np.array(found).T
    assert means.mean() == pytest.approx((bound + above).mean(), abs=4 * means.std() / math.sqrt(2000))
    assert errors.mean() == pytest.approx(means.std(), rel=0.05)
    assert means.std() < 0.5 * (bound + above).std() / math.sqrt(100)  # less than a half of that of 100 images


def test_gap_over_seeds_uses_the_seeds_that_both_have(tmp_path: Path) -> None:
    files = likelihood_files(
        tmp_path,
        {
            "mnist-vae-k1-s0": [-86.0, -87.0],
            "mnist-vae-k1-s1": [-86.2, -87.2],
            "mnist-mem_vae-k1-s0": [-85.0, -86.0],
            "mnist-mem_vae-k1-s1": [-84.8, -85.8],
        },
    )
    layout = synthetic.layout(synthetic.row("vae", seeds=2), synthetic.row("mem_vae", seeds=2))
    line = record(make("likelihood", layout, files, tmp_path), row="mnist-mem_vae-k1 minus mnist-vae-k1")
    assert float(line["log_likelihood"]) == pytest.approx(1.2)
    assert float(line["sd"]) == pytest.approx(0.4 / math.sqrt(2))  # gaps 1.0 and 1.4


def test_gaps_compare_equal_data_and_k_alone(tmp_path: Path) -> None:
    rows = [synthetic.row("vae"), synthetic.row("mem_vae", k=5), synthetic.row("mem_vae", dataset="ocr_letters")]
    files = likelihood_files(tmp_path, {row["runs"][0]: [-85.0, -86.0] for row in rows})
    frame = make("likelihood", synthetic.layout(*rows), files, tmp_path)
    assert not [row for row in frame["row"] if "minus" in row]


def test_gap_between_different_data_is_refused(tmp_path: Path) -> None:
    rows = [synthetic.row("vae"), synthetic.row("mem_vae")]
    files = [
        synthetic.likelihood(tmp_path, row["runs"][0], [-85.0, -86.0], data_sha256=digest * 64)
        for row, digest in zip(rows, "ab", strict=True)
    ]
    with pytest.raises(InputError, match="other data"):
        make("likelihood", synthetic.layout(*rows), files, tmp_path)


def test_gap_between_different_k_of_the_estimate_is_refused(tmp_path: Path) -> None:
    rows = [synthetic.row("vae"), synthetic.row("mem_vae")]
    files = [
        synthetic.likelihood(tmp_path, row["runs"][0], [-85.0, -86.0], samples=samples)
        for row, samples in zip(rows, (50, 5000), strict=True)
    ]
    with pytest.raises(InputError, match="samples"):
        make("likelihood", synthetic.layout(*rows), files, tmp_path)


def test_the_papers_numbers_do_not_stand_beside_other_data(tmp_path: Path) -> None:
    files = likelihood_files(tmp_path, {"digits-vae-k1-s0": [-85.0, -86.0]})
    layout = synthetic.layout(synthetic.row("vae", here="digits"), scale="demo")
    line = record(make("likelihood", layout, files, tmp_path), row="mnist-vae-k1")
    assert (line["paper"], line["difference"]) == ("", "")
    for suffix in ("md", "tex"):
        text = (tmp_path / f"tables/likelihood.{suffix}").read_text()
        assert "85.67" not in text
        assert "numbers are for MNIST, and do not stand beside ours for digits 8x8" in text


def test_row_without_runs_reads_not_run(tmp_path: Path) -> None:
    rows = [synthetic.row("vae", here="digits"), synthetic.row("vae", dataset="ocr_letters", seeds=0)]
    files = likelihood_files(tmp_path, {"digits-vae-k1-s0": [-85.0, -86.0]})
    frame = make("likelihood", synthetic.layout(*rows, scale="demo"), files, tmp_path)
    line = record(frame, row="ocr_letters-vae-k1")
    assert (line["log_likelihood"], line["standard_error"], line["runs"]) == ("not run", "", "")
    for suffix in ("md", "tex"):
        assert "not run" in (tmp_path / f"tables/likelihood.{suffix}").read_text()
        assert "nan" not in (tmp_path / f"tables/likelihood.{suffix}").read_text().lower()


def test_probing_has_accuracy_and_binomial_error(tmp_path: Path) -> None:
    file = synthetic.probing(tmp_path, "mnist-vae-k1-s0", right=36, right_svc=38, images=40)
    frame = make("probing", synthetic.layout(synthetic.row("vae")), [file], tmp_path)
    theirs, svc = (record(frame, classifier=name) for name in ("crammer_singer", "linear_svc"))
    assert (float(theirs["accuracy"]), float(svc["accuracy"])) == (90.0, 95.0)
    assert float(theirs["standard_error"]) == pytest.approx(100 * math.sqrt(0.9 * 0.1 / 40))
    assert (theirs["paper"], svc["paper"], theirs["images"]) == ("97.9", "", "40")
    assert float(theirs["difference"]) == pytest.approx(-7.9)


def test_imputation_has_last_error_and_recovered_share(tmp_path: Path) -> None:
    right = np.arange(50) < 30
    rows = [synthetic.row("vae", seeds=2), synthetic.row("mem_vae", seeds=2)]
    files = [
        synthetic.imputation(tmp_path, "mnist-vae-k1-s0", right, 0.10),
        synthetic.imputation(tmp_path, "mnist-vae-k1-s1", ~right, 0.14),
        synthetic.imputation(tmp_path, "mnist-mem_vae-k1-s0", right, 0.08),
        synthetic.imputation(tmp_path, "mnist-mem_vae-k1-s1", right, 0.08),
    ]
    frame = make("imputation", synthetic.layout(*rows), files, tmp_path)
    line = record(frame, noise="left_half", row="mnist-vae")
    assert float(line["error"]) == pytest.approx(0.12)
    assert float(line["error_sd"]) == pytest.approx(0.04 / math.sqrt(2))
    assert float(line["recovered"]) == pytest.approx(50.0)
    assert float(line["recovered_standard_error"]) == pytest.approx(100 * math.sqrt(0.25 / 50))
    assert float(line["recovered_sd"]) == pytest.approx(20 / math.sqrt(2))
    assert list(frame["noise"]) == ["square_6", "square_6", "left_half", "left_half"]
    text = (tmp_path / "tables/imputation.md").read_text()
    assert (
        "square 6 x 6" in text
        and "(3, one z each)" in text
        and "99.12 %" in text
        and "50 completed test images" in text
    )


# ---- all tables -----------------------------------------------------------------------------------------------------
def test_latex_uses_booktabs_and_escapes_text(tmp_path: Path) -> None:
    pair = [synthetic.row("vae"), synthetic.row("mem_vae")]
    files = [synthetic.imputation(tmp_path, one["runs"][0], np.arange(9) < 6) for one in pair]
    make("imputation", synthetic.layout(*pair), files, tmp_path)
    text = (tmp_path / "tables/imputation.tex").read_text()
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"recovered, \%" in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert all(body[place - 1] == "\\" for place, character in enumerate(body) if character == "%")


def test_csv_keeps_full_precision(tmp_path: Path) -> None:
    values = np.array([-85.123456789012345, -86.98765432109876])
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": values})
    frame = make("likelihood", synthetic.layout(synthetic.row("vae")), files, tmp_path)
    assert float(record(frame, row="mnist-vae-k1")["log_likelihood"]) == values.mean()


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "text"),
    [
        (-85.666, 2, False, "-85.67"),
        (1440984, 0, False, "1,440,984"),
        (-0.001, 2, True, "+0.00"),
        (1.26, 2, True, "+1.26"),
        (None, 2, False, ""),
    ],
)
def test_numbers_are_rounded_for_readers(value: float | None, decimals: int, sign: bool, text: str) -> None:
    assert table.number(value, decimals, sign) == text


# ---- refusals -------------------------------------------------------------------------------------------------------
def test_missing_seed_is_refused_by_its_name(tmp_path: Path) -> None:
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": [-85.0, -86.0]})
    with pytest.raises(InputError, match="mnist-vae-k1-s1"):
        make("likelihood", synthetic.layout(synthetic.row("vae", seeds=2)), files, tmp_path)


def test_likelihood_of_every_row_is_needed(tmp_path: Path) -> None:
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": [-85.0, -86.0]})
    with pytest.raises(InputError, match="mnist-mem_vae-k1-s0"):
        make("likelihood", synthetic.layout(synthetic.row("vae"), synthetic.row("mem_vae")), files, tmp_path)


def test_file_of_no_row_is_refused(tmp_path: Path) -> None:
    files = likelihood_files(tmp_path, {"mnist-vae-k1-s0": [-85.0, -86.0], "mnist-mem_vae-k1-s0": [-85.0, -86.0]})
    with pytest.raises(InputError, match="mnist-mem_vae-k1-s0 is in no row"):
        make("likelihood", synthetic.layout(synthetic.row("vae")), files, tmp_path)


def test_seeds_with_different_settings_are_refused(tmp_path: Path) -> None:
    files = [
        synthetic.likelihood(tmp_path, f"mnist-vae-k1-s{seed}", [-85.0, -86.0], samples=samples)
        for seed, samples in enumerate((5000, 500))
    ]
    with pytest.raises(InputError, match=r"settings\.samples is 500, expected 5000"):
        make("likelihood", synthetic.layout(synthetic.row("vae", seeds=2)), files, tmp_path)


def test_missing_array_is_refused_by_its_name(tmp_path: Path) -> None:
    arrays = {"test/log_likelihood": np.array([-85.0, -86.0])}
    settings = {"samples": 5000, "more_samples": 0}
    file = synthetic.write(tmp_path, "mnist-vae-k1-s0", "analysis/likelihood", arrays, settings)
    with pytest.raises(InputError, match="has no array 'test/bound'"):
        make("likelihood", synthetic.layout(synthetic.row("vae")), [file], tmp_path)


def test_missing_damaged_and_foreign_inputs_are_refused(tmp_path: Path) -> None:
    layout = synthetic.layout(synthetic.row("vae"))
    file = synthetic.probing(tmp_path, "mnist-vae-k1-s0", 39, 38)
    with pytest.raises(InputError, match="expected memvae/analysis/likelihood"):
        make("likelihood", layout, [file], tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        make("probing", layout, [file], tmp_path)
    with pytest.raises(InputError, match="not found"):
        make("probing", layout, [tmp_path / "none.h5"], tmp_path)
    assert not (tmp_path / "tables").exists()
