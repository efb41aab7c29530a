"""The workflow itself: it is clean, plans every target, really runs, and refuses what is wrong in one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import matplotlib.image
import project
import pytest

from memvae.settings import targets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("project"))


# ---- clean -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("snakefmt", "--check", "Snakefile", "workflow/rules"),
        ("mypy",),
        ("snakemake", "--lint"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_code_is_clean(command: tuple[str, ...]) -> None:
    result = project.run(project.ROOT, *command)
    assert result.returncode == 0, result.stdout + result.stderr


# ---- planning --------------------------------------------------------------------------------------------------------
def test_default_target_makes_every_table_and_figure_of_the_appendix(folder: Path) -> None:
    result = project.snakemake(folder, "-n", "--quiet", "rules")
    assert result.returncode == 0, result.stderr
    for job, count in {
        "train": 6,
        # likelihood, convergence, samples 6 each; generation, detail, slots 1; encoding, imputation, missing, probing 2
        "analyse": 29,
        "download": 7,
        "prepare": 2,
    }.items():
        assert f"\n{job} {count}" in "\n" + _squeezed(result), f"{job} should run {count} times"


def test_extended_adds_the_models_of_the_main_text_and_the_reference_model(folder: Path) -> None:
    result = project.snakemake(folder, "extended", "-n", "--quiet", "rules")
    assert "\ntrain 19" in "\n" + _squeezed(result)


def test_several_seeds_are_several_runs(folder: Path) -> None:
    result = project.snakemake(folder, "-n", "--quiet", "rules", "--config", "seeds=[0,1,2]")
    assert "\ntrain 18" in "\n" + _squeezed(result), result.stderr


# ---- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--config", "scale=dmeo"], ["scale", "'dmeo'", "paper", "quick", "demo"]),
        (["--config", "sedes=1"], ["unknown key 'sedes'", "seeds"]),
        (["--config", "seeds=[0,x]"], ["seeds", "'x'"]),
        (["results/demo/scorecard.csv"], ["results/demo/scorecard.csv", "--config scale=demo"]),
        (["figures/fig7.png", "--config", "scale=demo"], ["figures/fig7.png", "--config scale=paper"]),
        (["figures/fig9.png"], ["figures/fig9.png", "fig8.png"]),
        (["results/tables/table3"], ["results/tables/table3", "table3.csv"]),
        (["results/models/mnist-huge_vae-k1-s0.h5"], ["huge_vae", "vis_mem_vae"]),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(folder: Path, options: list[str], expected: list[str]) -> None:
    result = project.snakemake(folder, *options, "-n")
    lines = [line for line in result.stderr.splitlines() if line.startswith("memvae: ")]
    assert result.returncode == 2
    assert len(lines) == 1 and "Traceback" not in result.stderr
    for words in expected:
        assert words in lines[0]


def test_data_of_another_file_are_not_taken_for_those_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The demo has made data/digits.h5; the user names images of their own, with a slip in the name."""
    folder = project.make(tmp_path / "project")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/digits.h5").write_bytes(b"the demo's")
    (folder / "own.yaml").write_text("datasets: {digits: {title: mine, loader: hdf5, file: mne.h5}}\n")
    result = project.snakemake(folder, "-n", "--configfile", "own.yaml", "--config", "scale=demo")
    assert result.returncode == 2 and "memvae: datasets.digits.file: found no file mne.h5" in result.stderr
    (folder / "mne.h5").write_bytes(b"mine")
    result = project.snakemake(folder, "-n", "--quiet", "rules", "--configfile", "own.yaml", "--config", "scale=demo")
    assert "\nprepare 1" in "\n" + _squeezed(result), result.stderr


def test_an_altered_data_file_is_refused_by_name(tmp_path: Path) -> None:
    folder = project.make(tmp_path / "project")
    altered = tmp_path / "downloaded" / "frey_faces" / "frey_rawface.mat"
    altered.parent.mkdir(parents=True)
    altered.write_bytes(b"not faces")
    options = ("--config", f"data_folder={tmp_path / 'downloaded'}")
    result = project.snakemake(folder, "data/frey_faces.h5", *options)
    lines = [line for line in result.stderr.splitlines() if line.strip().startswith("memvae download: ")]
    assert result.returncode != 0
    assert len(lines) == 1 and "frey_rawface.mat" in lines[0] and "sha256" in lines[0] and "scale=demo" in lines[0]
    assert not (folder / "data/raw/frey_faces/frey_rawface.mat").exists()


# ---- really running --------------------------------------------------------------------------------------------------
def test_tiny_dag_makes_every_file(finished: Path) -> None:
    for path in targets.all_files(project.TINY):
        assert (finished / path).stat().st_size > 100, path
    for path in targets.all_files(project.TINY):
        if path.endswith(".png"):
            assert matplotlib.image.imread(finished / path)[..., :3].std() > 0.05, f"{path} is blank"


def test_page_of_results_shows_every_claim_table_and_figure(finished: Path) -> None:
    result = project.tiny(finished, targets.PAGE)
    assert result.returncode == 0, result.stderr[-3000:]
    text = (finished / targets.PAGE).read_text()
    shown = {Path(path).stem for path in targets.all_files(project.TINY) if path.endswith(".png")}
    assert {Path(path).stem for path in re.findall(r"!\[.*?\]\((.*?)\)", text)} == shown
    for path in re.findall(r"\]\((results/.*?)\)", text):
        if not path.endswith("precision_training.csv"):  # of the benchmarks, not of this workflow
            assert (finished / "docs" / path).exists(), path
    claims = re.findall(r"^\*\*.*: no verdict\.\*\* ", text, re.MULTILINE)  # digits stand for MNIST
    assert len(claims) == 9  # all but the two about OCR-letters, which is not run here
    assert "ocr_letters-vae-k1" in text and "no data at scale tiny" in text
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", "own/results.md")
    assert project.memvae(finished, "page", *options).returncode == 0
    own = (finished / "own/results.md").read_text()  # without Snakemake the same, but for the command
    assert own.startswith("# Results\n\nWritten by `memvae page --scale tiny --output own/results.md`; do not edit.")
    assert own.partition("do not edit.")[2] == text.partition("do not edit.")[2]


def test_a_second_start_has_nothing_to_do(finished: Path) -> None:
    result = project.tiny(finished, "-n")
    assert "Nothing to be done" in result.stdout + result.stderr


def test_a_change_of_one_run_reruns_what_depends_on_it_alone(finished: Path) -> None:
    changes = "models: {vis_mem_vae: {slots: 3}}"
    result = project.tiny(finished, "-n", "--quiet", "rules", changes=changes)
    jobs = "\n" + _squeezed(result)
    assert "\ntrain 1" in jobs and "\nanalyse 5" in jobs  # slots, encoding, likelihood, convergence, samples
    assert "\nprepare" not in jobs and "\nclassifier" not in jobs


def test_results_do_not_depend_on_cores_or_order(finished: Path, tmp_path: Path) -> None:
    other = project.make(tmp_path / "project")
    wanted = ["results/tiny/tables/slots.csv", "figures/tiny/fig7.png", "figures/tiny/fig7.pdf"]
    result = project.tiny(other, *wanted, "--cores", "1")
    assert result.returncode == 0, result.stderr[-3000:]
    run = "digits-vis_mem_vae-k1-s0"
    files = [*wanted, "data/digits.h5", f"results/tiny/models/{run}.h5", f"results/tiny/evaluation/{run}/slots.h5"]
    for path in files:
        assert (other / path).read_bytes() == (finished / path).read_bytes(), path


def test_every_run_carries_seed_versions_and_checksums(finished: Path) -> None:
    files = sorted((finished / "results/tiny/evaluation").glob("digits-*/*.h5"))
    assert len(files) == 3 * 4 + 3 * 1 + 4 * 2  # of as many runs each, as in the default target's test
    for path in files:
        with h5py.File(path) as file:
            for name in ("spec", "settings", "data_sha256", "model_sha256", "code_version", "packages", "epoch"):
                assert name in file.attrs, f"{path}: {name}"


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_rule_graph_is_drawn(finished: Path) -> None:
    result = project.tiny(finished, "rulegraph")
    assert result.returncode == 0, result.stderr[-3000:]
    text = (finished / "results/tiny/rulegraph.dot").read_text()
    assert "train" in text and "fig7" in text
    assert matplotlib.image.imread(finished / "figures/tiny/rulegraph.png").std() > 0.01


def test_a_stage_without_snakemake_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    run = "digits-vis_mem_vae-k1-s0"
    output = tmp_path / "slots.h5"
    options = ("--configfile", str(project.ROOT / "tests/tiny.yaml"), "--output", str(output))
    result = project.memvae(finished, "slots", run, *options)
    assert result.returncode == 0, result.stderr
    assert output.read_bytes() == (finished / f"results/tiny/evaluation/{run}/slots.h5").read_bytes()


def test_a_killed_training_continues_when_the_workflow_is_started_again(finished: Path, tmp_path: Path) -> None:
    """The workflow is killed with its training; started again, it unlocks, continues, and ends with the same bytes."""
    target = "results/tiny/models/digits-mem_vae-k1-s0.h5"
    changes = "scales: {tiny: {epochs: {digits: 150}}}"
    undisturbed, killed = project.make(tmp_path / "a"), project.make(tmp_path / "b")
    for folder in (undisturbed, killed):
        (folder / "data").mkdir()
        (folder / "data/digits.h5").write_bytes((finished / "data/digits.h5").read_bytes())
    assert project.tiny(undisturbed, target, changes=changes).returncode == 0
    (killed / "changes.yaml").write_text(changes)
    command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile"]
    command += [str(project.ROOT / "tests/tiny.yaml"), "changes.yaml"]
    environment = project.environment(MEMVAE_SAVE_SECONDS="0")
    process = subprocess.Popen(
        command,
        cwd=killed,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = killed / "logs/tiny/train/digits-mem_vae-k1-s0.log"
    deadline = time.monotonic() + 120
    while not (log.exists() and "epoch 5/150" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / target).exists(), "the training ended before it could be killed"
    assert project.tiny(killed, "--unlock", changes=changes).returncode == 0
    result = project.tiny(killed, target, changes=changes)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "continues after epoch" in log.read_text()
    assert (killed / target).read_bytes() == (undisturbed / target).read_bytes()


def _squeezed(result: subprocess.CompletedProcess[str]) -> str:
    """The job table of a dry run, single spaces."""
    return "\n".join(" ".join(line.split()) for line in (result.stdout + result.stderr).splitlines())
