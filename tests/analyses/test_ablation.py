"""Ablations: what a block of the configuration expands into, widths of equal parameters, statistics, table, figures."""

import copy
import dataclasses
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import project
import pytest
import synthetic
import yaml

from memvae.analyses.ablation.comparisons import compare, holm
from memvae.analyses.parameters.compute import count_parameters
from memvae.errors import InputError
from memvae.files import store
from memvae.report import archive as archives
from memvae.report import render
from memvae.settings import ablation, targets
from memvae.settings.config import Config, merge
from memvae.settings.work import parameters

RAW = yaml.safe_load((project.ROOT / "config/config.yaml").read_text())
HEADS = ("VAE", "MEM-VAE")


def config(axes: Mapping[str, Any] | None = None, **changes: Any) -> Config:
    """The shipped configuration; axes: of one ablation in place of the shipped ones."""
    raw = copy.deepcopy(RAW)
    if axes is not None:
        block = {"title": "mine", "dataset": "mnist", "base": "mem_vae", "axes": axes}
        raw["ablations"] = {"mine": block | changes.pop("block", {})}
        for scale in raw["scales"].values():
            scale.pop("ablations", None)
    return Config(merge(raw, changes))


# ---- from a block to models ------------------------------------------------------------------------------------------
def test_an_axis_is_one_line_and_each_value_beside_the_base_is_one_more_model() -> None:
    mine = config({"training.learning_rate": [0.0003, 0.003]})
    assert mine.plans["mine"].axes == {
        "learning rate": [
            ("0.0003", "mem_vae_learning_rate_0_0003-k1"),
            ("0.003", "mem_vae_learning_rate_0_003-k1"),
        ]
    }
    variants = mine.plans["mine"].variants
    assert next(iter(variants)) == "mem_vae-k1" and len(variants) == 6  # the base, two rates, a VAE beside each
    for name, rate in (("mem_vae_learning_rate_0_003", 0.003), (variants["mem_vae-k1"].equal[:-3], 0.001)):
        assert mine.spec(f"mnist-{name}-k1-s7").training.learning_rate == rate


def test_equal_specifications_are_one_run() -> None:
    """No slots and no layers with memory: the VAE; softmax and sum: VIS-MEM-VAE; K = 5: a run of the main text."""
    plan = config().plans["memory"]
    places = {axis: dict(points) for axis, points in plan.axes.items()}
    assert places["slots"]["0"] == places["memory in layers"]["none"] == "vae-k1"
    assert places["attention x composition"]["softmax; sum"] == "vis_mem_vae-k1"
    assert places["K"]["5"] == "mem_vae-k5"
    base = {points[label] for points, label in zip(places.values(), ("70, 30", "sigmoid", "mlp", "both"), strict=False)}
    assert base == {"mem_vae-k1"}
    mine = config()
    for name in mine.plans:
        specs = [ablation.key_of(mine.spec(run)) for row in mine.ablation_rows(name).values() for run in row.runs[:1]]
        assert len(set(specs)) == len(specs)
    shared = set(mine.plans["memory"].variants) & set(mine.plans["overfit"].variants)
    assert {"mem_vae-k1", "mem_vae_images_2000-k1", "vis_mem_vae-k1"} <= shared


def test_stopping_adds_two_models_with_a_vae_beside_each_to_those_that_are_there() -> None:
    """Twelve runs; the points of the last epoch are the models of the axis of training images."""
    mine, without = config(), config(ablations={"overfit": {"axes": {"stopping": None}}})
    runs, fewer = (
        {run for row in one.ablation_rows("overfit").values() for run in row.runs} for one in (mine, without)
    )
    assert fewer < runs and len(runs - fewer) == 12
    assert {mine.spec(run).training.validation for run in runs - fewer} == {0.1}
    assert {mine.spec(run).training.images for run in runs - fewer} == {2000, 5000}
    axes = {axis: dict(points) for axis, points in mine.plans["overfit"].axes.items()}
    assert axes["stopping"]["2,000, last epoch"] == axes["training images"]["2,000"]
    assert axes["stopping"]["2,000, best epoch"] == "mem_vae_images_2000_validation_0_1-k1"


def test_five_samples_have_the_epochs_of_one() -> None:
    mine = config()
    one, five = (mine.spec(f"mnist-mem_vae-k{k}-s0").training for k in (1, 5))
    assert dataclasses.replace(five, samples=1) == one and five.epochs == 3000


def test_what_memory_alone_uses_makes_no_new_model_without_memory() -> None:
    axes = {"slots": [0, [70, 30]], "training.reconstruction_weight": [0.1, 1]}
    mine = config(axes, block={"crossed": [["slots", "training.reconstruction_weight"]]})
    points = dict(mine.plans["mine"].axes["slots x reconstruction weight"])
    assert points["0; 0.1"] == points["0; 1"] == "vae-k1" and points["70, 30; 1"] != "mem_vae-k1"


def test_an_axis_of_labels_changes_several_keys() -> None:
    mine = config({"K": {"1": {}, "5, half as long": {"k": 5, "training.epochs": 1500}}})
    assert mine.plans["mine"].axes["K"][1] == ("5, half as long", "mem_vae_epochs_1500-k5")
    spec = mine.spec("mnist-mem_vae_epochs_1500-k5-s0")
    assert (spec.training.samples, spec.training.epochs, spec.training.full_epochs) == (5, 1500, 3000)


def test_runs_that_are_no_ablation_have_the_specification_of_before() -> None:
    without = copy.deepcopy(RAW) | {"ablations": {}}
    for scale in without["scales"].values():
        scale.pop("ablations", None)
    for run in config().runs("appendix", "extended"):
        assert config().spec(run).to_json() == Config(without).spec(run).to_json()
        assert "images" not in config().spec(run).to_json().replace("image", "", 1)


def test_at_a_scale_without_its_data_an_ablation_is_not_made() -> None:
    axes = {"slots": [0]}
    assert config(axes, block={"dataset": "ocr_letters"}).plans
    demo = config(axes, block={"dataset": "ocr_letters"}, scale="demo")
    assert not demo.plans and targets.ablation_files(demo) == []


def test_an_ablation_that_does_not_fit_the_data_in_its_place_is_not_made_there() -> None:
    """A user's network may have other layers than the shipped axes; on the data set's own network that is refused."""
    network = {"datasets": {"digits": {"network": {"hidden": [50], "slots": [9]}}}}
    assert set(config(scale="demo", **network).plans) == {"overfit"}  # whose axes leave the layers as they are
    for scale in RAW["scales"]:  # null removes an ablation, whatever a scale changes of it
        assert not config(ablations={"memory": None, "overfit": None}, scale=scale).plans
    with pytest.raises(InputError, match=r"^ablations\.memory: run .*slots has 2 entries and hidden 1"):
        config(datasets={"mnist": network["datasets"]["digits"]})


@pytest.mark.parametrize(
    ("axes", "block", "words"),
    [
        ({"training.learning_rat": [1]}, {}, "ablations.mine.axes: found the unknown key 'training.learning_rat'"),
        ({"slotz": [1]}, {}, "ablations.mine.axes: found the unknown key 'slotz', expected one of hidden"),
        ({"rate": {"low": {"rate": 1}}}, {}, "ablations.mine.axes.rate.low: found the unknown key 'rate'"),
        ({"attention": ["hard"]}, {}, "ablations.mine.axes.attention: found 'hard', expected one of sigmoid"),
        ({"slots": 3}, {}, "ablations.mine.axes.slots: found 3, expected a list of values"),
        ({"slots": [0]}, {"base": "none"}, "ablations.mine.base: found 'none', expected one of vae"),
        ({"slots": [0]}, {"crossed": [["slots", "k"]]}, "ablations.mine.crossed: found 'k', expected one of slots"),
        ({"slots": [0]}, {"axes": None}, "ablations.mine.axes: found None, expected a mapping"),
        ({"slots": [0]}, {"colour": 1}, "ablations.mine: found the unknown key 'colour'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(axes: dict, block: dict, words: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        config(axes, block=block)


def test_a_scale_completes_no_ablation_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"^ablations\.memry: the key 'title' is missing"):
        config(scale="demo", scales={"demo": {"ablations": {"memry": {"seeds": [1]}}}})


# ---- equal parameters ------------------------------------------------------------------------------------------------
def test_parameters_are_counted_as_on_the_models_themselves() -> None:
    mine = config()
    runs = [*mine.runs("extended"), *(row.runs[0] for name in mine.plans for row in mine.ablation_rows(name).values())]
    for network in {mine.spec(run).network for run in runs}:
        assert parameters(network) == count_parameters(network)


def test_the_vae_beside_a_model_has_as_many_parameters_up_to_a_hidden_unit() -> None:
    """As near as it can be: one unit more or less in each layer is further away."""
    mine = config()
    for name, plan in mine.plans.items():
        for place, variant in plan.variants.items():
            spec = mine.spec(f"mnist-{place}-s0")
            assert bool(variant.equal) == spec.network.has_memory, (name, place)
            if not variant.equal:
                continue
            other = mine.spec(f"mnist-{variant.equal}-s0")
            assert not other.network.has_memory and other.network.latent == spec.network.latent
            assert other.training == spec.training or "reconstruction" in place

            def count(more: int, vae: Any = other.network) -> int:
                return parameters(dataclasses.replace(vae, hidden=tuple(width + more for width in vae.hidden)))

            distances = [abs(count(more) - variant.parameters) for more in (-1, 0, 1)]
            assert distances[1] == min(distances)


# ---- statistics ------------------------------------------------------------------------------------------------------
def simulated(rng: np.random.Generator, seeds: int, models: int = 10, images: int = 300, effect: float = 0.0):
    """Differences of models from one base, all truly `effect`: parts of image, image by model, seed, and the rest."""
    by_image = rng.normal(0, 8, images)

    def model() -> np.ndarray:
        seed = rng.normal(0, 0.15, (seeds, 1))
        return by_image + rng.normal(0, 2, images) + seed + rng.normal(0, 1, (seeds, images))

    base = model()
    return [model() + effect - base for _ in range(models)]


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_intervals_cover_the_truth_and_the_correction_keeps_false_findings_rare(seeds: int) -> None:
    """Of 95 % intervals 93 to 99 % cover: ten correlated ones in each of 150 tables leave about a point of chance, and
    the spread over seeds is taken as the larger of two. At most 5 % of tables have a false finding, + 2 sd of 150."""
    rng, covered, false = np.random.default_rng(seeds), [], []
    for _ in range(150):
        found = compare(simulated(rng, seeds, effect=0.3), assumed_sd=2**0.5 * 0.15)
        covered += [one.low <= 0.3 <= one.high for one in found]
        null = compare(simulated(rng, seeds), assumed_sd=2**0.5 * 0.15)
        false.append(any(one.p_holm < 0.05 for one in null))
    assert 0.93 <= np.mean(covered) <= 0.99
    assert np.mean(false) <= 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5


def test_a_clear_gain_is_found_with_three_seeds() -> None:
    found = compare(simulated(np.random.default_rng(0), 3, images=1000, effect=1.2), assumed_sd=0.2)
    assert all(one.p_holm < 0.05 and one.low > 0 for one in found)


def test_the_error_of_a_comparison_joins_images_and_seeds() -> None:
    (one,) = compare([np.random.default_rng(0).normal(0, 3, 900) + np.array([[-0.3], [0.0], [0.3]])], 0.2)
    assert one.sd == pytest.approx(0.3)
    expected = (one.images**2 + 0.3**2 / 3) ** 0.5
    assert one.error == pytest.approx(expected, rel=0.08)  # 1,000 replicates: 2 % is one standard deviation


def test_one_seed_has_the_assumed_spread() -> None:
    (one,) = compare([np.random.default_rng(0).normal(0.5, 0.01, (1, 500))], 0.2)
    assert one.sd is None and one.error == pytest.approx(0.2, rel=0.08)


def test_the_spread_is_pooled_within_a_kind_of_comparison() -> None:
    """A noisy setting widens the intervals over the base, not those over a VAE."""
    rng = np.random.default_rng(0)
    quiet = [rng.normal(0, 0.1, (3, 400)) + np.array([[-0.05], [0.0], [0.05]]) for _ in range(2)]
    noisy = rng.normal(0, 0.1, (3, 400)) + np.array([[-2.0], [0.0], [2.0]])
    together = compare([*quiet, noisy], 0.2)
    apart = compare([*quiet, noisy], 0.2, ["equal", "equal", "base"])
    assert together[0].error > 0.5 and apart[0].error < 0.05 and apart[2].error > 1


def test_holm_multiplies_by_the_comparisons_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


# ---- the best epoch of a validation split, and what was made: on files without a training ----------------------------
def overfit_files(mine: Config) -> None:
    """Files of `overfit` below the working folder: stopping brings a model with memory 0.5 nats, and a VAE 0.25."""
    evaluation = Path(mine.results) / "evaluation"
    for row in mine.ablation_rows("overfit").values():
        for seed, run in enumerate(row.runs):
            spec = mine.spec(run)
            values = np.random.default_rng(seed).normal(-85, 8, 60)
            if spec.training.images:
                values = values - 4000 / spec.training.images - 0.4 * spec.network.has_memory
            if spec.training.validation:
                values = values + 0.25 + 0.25 * spec.network.has_memory
            kept = {"epoch_kept": 100 + seed} if spec.training.validation else {}
            facts = {"spec": json.loads(spec.to_json()), "epoch": spec.training.epochs, "data_sha256": "d" * 64, **kept}
            arrays = store.read(synthetic.likelihood(evaluation, run, values)).arrays
            settings = {"samples": 5000, "images": 0}
            store.write(
                evaluation / run / "likelihood.h5", "analysis/likelihood", arrays, facts | {"settings": settings}
            )
            if spec.network.has_memory:
                arrays = store.read(synthetic.slots(evaluation, run)).arrays
                store.write(evaluation / run / "slots.h5", "analysis/slots", arrays, facts | {"images": 60})
            model = Path(targets.model_file(mine, run))
            model.parent.mkdir(exist_ok=True)
            model.touch()


def test_the_best_epoch_is_compared_with_the_same_model_at_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = config()
    overfit_files(mine)
    output = Path(targets.files(mine, "table", "ablation_overfit")[0])
    render.write(targets.target(mine, "ablation_overfit"), None, output)
    table = pd.read_csv(output).drop_duplicates("model_key").set_index("model_key")
    stopped = table[table.last_gain.notna()]
    assert {key for key in table.index if "validation" in key} == set(stopped.index) and len(stopped) == 4
    for key, one in stopped.iterrows():
        memory = isinstance(one.equal, str)
        assert one.last_gain == pytest.approx(0.5 if memory else 0.25), key
        assert one.epoch_kept == "100, 101, 102"
        if memory:  # beside a VAE that was stopped too
            assert one.equal_gain == pytest.approx(-0.4 + 0.25)
            assert table.loc[f"{one.equal}-k1"].last_gain == pytest.approx(0.25)
    text = output.with_suffix(".md").read_text()
    assert "## the best epoch of a validation split, over the last epoch" in text and "| 100, 101, 102 |" in text


def test_an_ablation_is_shown_as_long_as_it_was_made_with_the_settings_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = config()
    overfit_files(mine)

    def inputs() -> list[list[str]]:
        """Of the page, of the archive and of the measurements."""
        archived = targets.inputs_of(*targets.drawn(mine))
        return [targets.page_inputs(mine), archived, targets.inputs(mine, targets.MEASUREMENTS)]

    plain = inputs()
    assert targets.made(mine) == []
    table = Path(targets.files(mine, "table", "ablation_overfit")[0])
    record = {"made_with": targets.target(mine, "ablation_overfit")["made_with"]}
    store.write_run_json(table, 0.0, **record)
    mine.made = targets.made(mine)
    assert mine.made == ["overfit"]
    shown = inputs()
    evaluations = set(targets.inputs(mine, "ablation_overfit"))
    assert all(set(one) >= {*other, *evaluations} for one, other in zip(shown, plain, strict=True))
    assert str(table.with_suffix(".md")) in shown[0]
    assert "docs/results/ablation_gains_overfit.png" in targets.page_files(mine)
    for changes in ({"training": {"decay": 0.99}}, {"analyses": {"likelihood": {"samples": 7}}}, {"seeds": [3]}):
        expected = ["overfit"] if "seeds" in changes else []  # it has seeds of its own
        assert targets.made(config(**changes)) == expected
    Path(targets.model_file(mine, "mnist-mem_vae_images_2000-k1-s1")).unlink()
    assert targets.made(mine) == []  # nothing is trained to show it


# ---- through the workflow --------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_target_makes_tables_and_figures_and_nothing_of_it_without_being_asked(
    finished: Path, tmp_path: Path
) -> None:
    folder = project.make(tmp_path / "project")
    for made in ("data", "results"):
        (folder / made).mkdir()
    assert not list((finished / "results/tiny/tables").glob("ablation*"))
    changes = "scales: {tiny: {ablations: {overfit: {axes: {composition: null}}}}}"
    result = project.tiny(folder, "ablation", changes=changes)
    assert result.returncode == 0, result.stderr[-4000:]
    for path in targets.ablation_files(project.TINY):
        assert (folder / path).stat().st_size > 500, path
    assert matplotlib.image.imread(folder / "figures/tiny/ablation_gains_memory.png").shape[1] == 2025  # 6.75 inches
    table = pd.read_csv(folder / "results/tiny/tables/ablation_memory.csv")
    base = table[table.model_key == "mem_vae-k1"]
    assert base.axis.tolist() == [
        "slots",
        "attention",
        "composition",
        "reconstruction weight",
        "attention x composition",
    ]
    assert base.base_gain.isna().all()
    one = base.iloc[0]
    vae = table[(table.axis == "VAEs") & (table.model_key == f"{one.equal}-k1")].iloc[0]
    assert one.equal_gain == pytest.approx(one.log_likelihood - vae.log_likelihood)
    assert one.equal_low < one.equal_gain < one.equal_high and one.seeds == 2
    assert (table.train_bound - table.test_bound).tolist() == pytest.approx(table.train_minus_test.tolist())
    text = (folder / "results/tiny/tables/ablation_memory.md").read_text()
    verb = "helps by" if one.equal_gain >= 0 else "costs"
    assert f"Memory {verb} {abs(one.equal_gain):.2f} ± " in text and "at equal parameters (2 seeds;" in text


def jobs(folder: Path, *arguments: str, changes: str = "") -> set[str]:
    """The rules that a dry run would run."""
    result = project.tiny(folder, *arguments, "-n", "--quiet", "host", changes=changes)
    assert result.returncode == 0, result.stderr[-4000:]
    return set(re.findall(r"^(?:local)?rule (\w+):", result.stdout + result.stderr, re.MULTILINE))


@pytest.mark.slow
def test_what_was_made_is_on_the_page_in_the_measurements_and_in_the_archive(finished: Path, tmp_path: Path) -> None:
    """And no plain target trains a model of an ablation: neither before, nor after, nor when its settings change."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    page, measured, archive = (
        f"results/tiny/{name}" for name in ("report/index.html", "measurements.csv", "archive.zip")
    )
    before = pd.read_csv(folder / measured)
    assert not before[["dataset", "model", "k", "seed", "quantity", "condition"]].duplicated().any()
    small = "memory: null, overfit: {axes: {attention: null, composition: null}"
    only = f"scales: {{tiny: {{ablations: {{{small}}}}}}}}}"
    result = project.tiny(folder, "ablation", changes=only)
    assert result.returncode == 0, result.stderr[-4000:]
    table = pd.read_csv(folder / "results/tiny/tables/ablation_overfit.csv")
    stopped = table[table.last_gain.notna()].drop_duplicates("model_key")
    assert len(stopped) == 2  # with memory, and the VAE beside it
    for one in stopped.itertuples():
        last = table[table.model_key == one.model_key.replace("_validation_0_5", "")].iloc[0]
        assert one.last_gain == pytest.approx(one.log_likelihood - last.log_likelihood)
        assert int(one.epoch_kept) in (1, 2)
    assert "the best epoch of a validation split" in (folder / "results/tiny/tables/ablation_overfit.md").read_text()

    assert jobs(folder, changes=only) == {"measurements", "report_page", "all"}
    result = project.tiny(folder, page, measured, archive, changes=only)
    assert result.returncode == 0, result.stderr[-4000:]
    assert "what memory gains with fewer training images" in (folder / page).read_text()
    after = pd.read_csv(folder / measured)
    assert not after[["dataset", "model", "k", "seed", "quantity", "condition"]].duplicated().any()
    new = after[~after.model.isin(before.model)]
    assert set(new.model) == {key.removesuffix("-k1") for key in table.model_key} - set(before.model)
    assert before.merge(after, how="left", indicator=True)._merge.eq("both").all()
    archives.redraw(folder / archive, tmp_path / "redrawn")
    for name in ("tables/ablation_overfit.md", "measurements.csv"):
        assert (tmp_path / "redrawn" / name).read_bytes() == (folder / "results/tiny" / name).read_bytes()
    name = "ablation_gains_overfit.png"
    assert (tmp_path / "redrawn/figures" / name).read_bytes() == (folder / "figures/tiny" / name).read_bytes()

    changed = jobs(folder, changes=only.replace("overfit: {", "overfit: {epochs: 3, "))
    assert "train" not in changed and "report_page" in changed


def test_an_unknown_key_ends_the_workflow_in_one_line(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    result = project.tiny(folder, "ablation", "-n", changes="ablations: {memory: {axes: {training.rate: [1]}}}")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "memvae:" in line]
    assert line.startswith(
        "memvae: ablations.memory.axes: found the unknown key 'training.rate', expected one of hidden"
    )
