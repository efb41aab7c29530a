"""The page of results: verdicts on claims whose truth is known, and the page itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from memvae.analyses.detail.show import local_detail
from memvae.analyses.imputation.show import infers_better
from memvae.analyses.likelihood.show import GAP_SEED_SD, SEED_SD, between, memory_gains, no_overfitting
from memvae.analyses.probing.show import features_no_worse
from memvae.analyses.slots.show import meaningless_slots, similar_classes
from memvae.report import page, render
from memvae.report.claims import FAILS, HOLDS, OPEN, PARTLY
from memvae.report.paper import read_paper
from memvae.report.view import View

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "config/paper.yaml"
NOISE = np.random.default_rng(0).normal(size=400)  # nats, over images
MODELS = ("vae", "large_vae", "mem_vae", "vis_mem_vae")


memory_gain = memory_gains("mem_vae", "vae", "title")
overfits = no_overfitting("title")


def view(analysis: str, files: list[Path], seeds: int = 1) -> View:
    rows = [synthetic.row(model, seeds=seeds) for model in MODELS]
    made = [row for row in rows if any(row["runs"][0] in str(file) for file in files)]
    part = {"analysis": analysis, "module": "", "layout": synthetic.layout(*made), "inputs": files}
    return render.view(part, read_paper(PAPER))


def likelihoods(folder: Path, seeds: int = 1, **means: float) -> list[Path]:
    """One file per model and seed; images differ, in the same way for all models."""
    return [
        synthetic.likelihood(folder, f"mnist-{model}-k1-s{seed}", NOISE + mean)
        for model, mean in means.items()
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(("gain", "verdict"), [(1.2, HOLDS), (0.3, OPEN), (-0.3, OPEN), (-1.2, FAILS)])
def test_a_gain_is_judged_against_images_and_the_chance_of_training(tmp_path: Path, gain: float, verdict: str) -> None:
    files = likelihoods(tmp_path, vae=-86.0, mem_vae=-86.0 + gain)
    found = memory_gain(view("likelihood", files))
    assert found and found.verdict == verdict
    assert found.paper == "+1.26 nats (A, R)" and found.ours == f"{gain:+.2f} ± 0.21 nats"  # sqrt(2) times 0.15


@pytest.mark.parametrize(("seeds", "verdict"), [(2, OPEN), (5, HOLDS)])
def test_few_seeds_that_agree_settle_nothing_by_luck(tmp_path: Path, seeds: int, verdict: str) -> None:
    files = likelihoods(tmp_path, seeds=seeds, vae=-86.0, mem_vae=-85.8)
    found = memory_gain(view("likelihood", files, seeds))
    assert found and found.verdict == verdict


@pytest.mark.parametrize(("middle", "verdict"), [(-85.5, HOLDS), (-85.9, PARTLY), (-87.0, FAILS)])
def test_between_needs_both_gaps(tmp_path: Path, middle: float, verdict: str) -> None:
    found = between(view("likelihood", likelihoods(tmp_path, vae=-86.0, mem_vae=-85.0, vis_mem_vae=middle)))
    assert found and found.verdict == verdict


@pytest.mark.parametrize(
    ("gain", "extra", "noise", "verdict"),
    [
        (2.0, 0.1, 0.0, HOLDS),
        (2.0, 0.9, 0.0, FAILS),
        (2.0, 0.6, 0.0, OPEN),
        (2.0, 0.1, 3.0, OPEN),
        (-1.0, 0.0, 0.0, OPEN),
    ],
)
def test_overfitting_is_an_extra_gap_beside_the_gain_and_noise_is_no_proof(
    tmp_path: Path, gain: float, extra: float, noise: float, verdict: str
) -> None:
    data = view("likelihood", likelihoods(tmp_path, vae=-86.0, mem_vae=-86.0 + gain))
    for file in data.of(data.row("mem_vae")):
        file.array("train/bound")[:] += extra + noise * np.array([1, -1, 1, -1, 1, -1])
    found = overfits(data)
    assert found and found.verdict == verdict and f"{extra:+.2f}" in found.ours


def test_five_seeds_tell_the_spread_of_a_gap_themselves(tmp_path: Path) -> None:
    """With one seed 0.14 nats are taken: 0.4 beside a margin of 0.25 settles nothing then."""
    for seeds, verdict in ((1, OPEN), (5, FAILS)):
        folder = tmp_path / str(seeds)
        data = view("likelihood", likelihoods(folder, seeds, vae=-86.0, mem_vae=-85.0), seeds)
        for file in data.of(data.row("mem_vae")):
            file.array("train/bound")[:] += 0.4
        found = overfits(data)
        assert found and found.verdict == verdict


def test_a_claim_about_a_model_that_was_not_run_is_left_out(tmp_path: Path) -> None:
    data = view("likelihood", likelihoods(tmp_path, vae=-86.0))
    assert memory_gain(data) is None and between(data) is None and overfits(data) is None
    file = synthetic.probing(tmp_path, "mnist-vae-k1-s0", 390, 390)
    assert features_no_worse(view("probing", [file])) is None


def preferences(groups: list[str]) -> np.ndarray:
    """Classes of one group share a slot: [classes, 12]."""
    values = np.full((10, 12), 1e-4) + np.random.default_rng(1).random((10, 12)) * 1e-5
    for slot, group in enumerate(groups):
        for label in group:
            values[int(label), slot] += 1.0
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("groups", "verdict"),
    [
        (["479", "358", "0", "1", "2", "6"], HOLDS),
        (["0123456789"], FAILS),
        (["479", "012", "3", "5", "6", "8"], PARTLY),
    ],
)
def test_shared_slots_are_compared_with_the_pairs_of_the_authors(
    tmp_path: Path, groups: list[str], verdict: str
) -> None:
    file = synthetic.slots(tmp_path, "mnist-vis_mem_vae-k1-s0", {"layer0": preferences(groups)})
    found = similar_classes(view("slots", [file]))
    assert found and found.verdict == verdict


@pytest.mark.parametrize(("strength", "verdict"), [("as preferred", HOLDS), ("all alike", OPEN), ("reversed", FAILS)])
def test_meaning_is_the_share_of_the_class_in_a_slots_image(tmp_path: Path, strength: str, verdict: str) -> None:
    """Slot 3 c + p is preferred by class c alone, the less the larger p; its image is more or less of the class's."""
    draw = np.random.default_rng(3)
    values = np.full((10, 30), 1e-4)
    for label in range(10):
        values[label, 3 * label : 3 * label + 3] = np.array([0.6, 0.3, 0.02]) + 0.001 * label
    means = draw.random((10, synthetic.PIXELS))
    part = {"as preferred": (1.0, 0.5, 0.1), "all alike": (0.5, 0.5, 0.5), "reversed": (0.1, 0.5, 1.0)}[strength]
    images = np.stack([0.5 + part[place] * (means[label] - 0.5) for label in range(10) for place in range(3)])
    file = synthetic.slots(tmp_path, "mnist-vis_mem_vae-k1-s0", {"layer0": values}, images=images, class_means=means)
    found = meaningless_slots(view("slots", [file]))
    assert found and found.verdict == verdict


def test_a_flat_slot_has_no_meaning_however_much_it_is_preferred(tmp_path: Path) -> None:
    means = np.random.default_rng(3).random((10, synthetic.PIXELS))
    images = np.full((12, synthetic.PIXELS), 0.3)
    file = synthetic.slots(
        tmp_path, "mnist-vis_mem_vae-k1-s0", {"layer0": preferences(["0123456789"])}, images=images, class_means=means
    )
    found = meaningless_slots(view("slots", [file]))
    assert found and found.verdict == OPEN and "meaning 0.00 of" in found.ours


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.9, 0.2, HOLDS), (0.3, 0.2, FAILS), (0.3, 0.1, PARTLY), (0.9, 0.9, PARTLY)]
)
def test_detail_is_lost_when_the_pattern_is_kept_and_detail_is_not(
    tmp_path: Path, low: float, high: float, verdict: str
) -> None:
    """`low` and `high`: the share of the energy that is kept in either band, and the coherence with what was there."""
    found = view("detail", [synthetic.detail(tmp_path, "mnist-mem_vae-k1-s0")])
    (file,) = found.of(found.row("mem_vae"))
    for band, share in (("low", low), ("high", high)):
        full = file.array(f"{band}/full")
        file.array(f"{band}/both")[:] = share * full
        file.array(f"cross_{band}/both")[:] = share * np.sqrt(share) * full
    claim = local_detail(found)
    assert claim and claim.verdict == verdict and claim.numbers["coherence_low"] == pytest.approx(low)


@pytest.mark.parametrize(("right", "verdict"), [(60, HOLDS), (50, OPEN), (40, FAILS)])
def test_imputation_is_judged_by_the_digits_recovered(tmp_path: Path, right: int, verdict: str) -> None:
    order = np.random.default_rng(4).permutation(4000)
    files = [
        synthetic.imputation(tmp_path, f"mnist-{model}-k1-s0", order < 40 * share)
        for model, share in (("vae", 50), ("mem_vae", right))
    ]
    found = infers_better(view("imputation", files))
    assert found and found.verdict == verdict and f"{right - 50:+.1f} ±" in found.ours


@pytest.mark.parametrize(("right", "verdict"), [(395, HOLDS), (390, OPEN), (300, FAILS)])
def test_features_are_no_worse_when_a_loss_beyond_the_margin_is_ruled_out(
    tmp_path: Path, right: int, verdict: str
) -> None:
    files = [
        synthetic.probing(tmp_path, f"mnist-{model}-k1-s0", count, count, images=400)
        for model, count in (("vae", 390), ("mem_vae", right))
    ]
    found = features_no_worse(view("probing", files))
    assert found and found.verdict == verdict and found.paper == "+0.13 points (A)"


def test_the_spreads_taken_for_one_seed_are_what_was_measured() -> None:
    """`SEED_SD`, `GAP_SEED_SD` and their printed ranges, against docs/results/precision_training.csv."""
    table = pd.read_csv(ROOT / "docs/results/precision_training.csv")
    models = table[(table["seed"] == "std") & table["model"].isin(["vae", "mem_vae"])]
    for columns, least, most, taken in (
        (["float32", "bf16"], 0.11, 0.16, SEED_SD),
        (["train minus test, float32", "train minus test, bf16"], 0.06, 0.10, GAP_SEED_SD),
    ):
        measured = models[columns].to_numpy().ravel()
        assert (round(measured.min(), 2), round(measured.max(), 2)) == (least, most)
        assert least < taken <= most


# ---- the page itself -------------------------------------------------------------------------------------------------
def spec(files: list[Path], here: str | None = None, **changes: Any) -> dict[str, Any]:
    rows = [synthetic.row(model, here=here) for model in ("vae", "mem_vae")]
    layout = synthetic.layout(*rows, scale="short")
    inputs = {"likelihood": [file for file in files if file.name == "likelihood.h5"]}
    inputs["curves"] = [file for file in files if file.parent.name == "models"]
    return {
        "scale": "short",
        "title": "a short test",
        "seeds": [0],
        "command": "snakemake docs/results.md",
        "parts": [
            {"analysis": name, "module": "", "layout": layout, "inputs": [str(path) for path in paths]}
            for name, paths in inputs.items()
            if paths
        ],
        "ablations": [],
        "not_run": {"mnist-vae-k50": {"reason": "too long", "hours": 12.3}},
        **changes,
    }


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    models = []
    for name in ("vae", "mem_vae"):
        path = synthetic.model(tmp_path, f"mnist-{name}-k1-s0")
        models.append(tmp_path / "models" / f"{path.parent.name}.h5")  # as the workflow lays them out
        models[-1].parent.mkdir(exist_ok=True)
        path.rename(models[-1])
    record = {"seconds": 120.0, "finished": "2026-01-01T00:00:00Z", "processor": "a processor, 2 cores"}
    (tmp_path / "models/mnist-vae-k1-s0.h5.run.json").write_text(json.dumps(record))
    written = [tmp_path / name for name in ("likelihood.md", "likelihood.csv", "scorecard.md", "fig6.png")]
    for path in written:
        path.write_text(f"# {path.name}\n\ncontent\n")
    return [*(path for path in likelihoods(tmp_path, vae=-86.0, mem_vae=-85.0)), *models, *written]


def test_the_page_shows_claims_files_provenance_and_what_was_not_run(tmp_path: Path, inputs: list[Path]) -> None:
    output = tmp_path / "docs/results.md"
    page.write(spec(inputs), inputs, PAPER, output)
    text = output.read_text()
    assert "| Memory raises the log-likelihood | holds | +1.26 nats (A, R)" in " ".join(text.split())
    assert "**likelihood.md**" in text and "mnist-vae-k50" in text and "too long" in text
    assert "a processor, 2 cores" in text and "One seed (0)" in text
    names = ["claims.csv", "curves.csv", "fig6.png", "likelihood.csv", "provenance.csv"]
    assert sorted(path.name for path in (tmp_path / "docs/results").iterdir()) == names
    numbers = (tmp_path / "docs/results/claims.csv").read_text()
    assert "Memory raises the log-likelihood,holds,difference,1.0\n" in numbers
    assert "mnist-mem_vae-k1-s0" in (tmp_path / "docs/results/provenance.csv").read_text()


def test_another_data_set_in_mnists_place_says_nothing_about_the_paper(tmp_path: Path) -> None:
    runs = [f"digits-{model}-k1-s0" for model in ("vae", "mem_vae")]
    files = [synthetic.likelihood(tmp_path, run, NOISE + level) for run, level in zip(runs, (-86, -85), strict=True)]
    scorecard = tmp_path / "scorecard.md"
    scorecard.write_text("# scorecard\n")
    page.write(spec(files, here="digits"), [*files, scorecard], PAPER, tmp_path / "docs/results.md")
    text = (tmp_path / "docs/results.md").read_text()
    assert "**Memory raises the log-likelihood: no verdict.**" in text and "nothing is said about the paper" in text
