"""Faults while the workflow's commands run: the same command again gives the bytes of an undisturbed run.

A short selection runs with the other tests, everything with `-m release`, which prints the counts of docs/files.md.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import faults
import project
import pytest

from memvae.files import store
from memvae.settings import targets

RUN = "digits-mem_vae-k1-s0"
EPOCHS = 30
LONGER = f"scales: {{tiny: {{epochs: {{digits: {EPOCHS}}}, training: {{curve_every: 10}}}}}}"  # long enough to be hit
EVERY_EPOCH = {"MEMVAE_SAVE_SECONDS": "0"}  # a state
RUNS_OF = {"slots": "digits-vis_mem_vae-k1-s0"}
ANALYSES = ("likelihood", "generation", "detail", "slots", "imputation", "probing")
STAGES = ("train", "classifier", *ANALYSES)
KILLS = {"train": 20}  # of other stages FEWER
FEWER = 6
TERMS = 6


def command(stage: str, output: Path) -> list[str]:
    """A stage as its rule runs it, with another output."""
    if stage == "classifier":
        return [stage, "digits", "--configfile", faults.TINY, "--output", str(output)]
    longer = [str(output.parent / "longer.yaml")] if stage == "train" else []
    if longer:
        Path(longer[0]).write_text(LONGER)
    return [stage, RUNS_OF.get(stage, RUN), "--configfile", faults.TINY, *longer, "--output", str(output)]


def expected(finished: Path, stage: str) -> bytes:
    """What the undisturbed workflow, or for the longer training an undisturbed command, has made."""
    if stage == "train":
        return undisturbed(finished).read_bytes()
    if stage == "classifier":
        return (finished / targets.classifier_file(project.TINY, "digits")).read_bytes()
    return (finished / targets.analysis_file(project.TINY, RUNS_OF.get(stage, RUN), stage)).read_bytes()


def undisturbed(finished: Path) -> Path:
    """The longer training's model, made once."""
    model = finished / "undisturbed" / "model.h5"
    if not model.exists():
        model.parent.mkdir(exist_ok=True)
        result = project.memvae(finished, *command("train", model))
        assert result.returncode == 0, result.stderr
    return model


def one_line(text: str, stage: str) -> str:
    """The line with which a stage ended; there is no other one from it, and no traceback."""
    lines = [line for line in text.splitlines() if line.startswith(f"memvae {stage}: ")]
    assert len(lines) == 1 and "Traceback" not in text, text
    return lines[0]


# ---- signals ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=pytest.mark.slow if stage == "train" else pytest.mark.release) for stage in STAGES],
)
def test_a_stage_killed_at_random_moments_gives_the_same_bytes(finished: Path, tmp_path: Path, stage: str) -> None:
    output, whole = tmp_path / f"{stage}.h5", expected(finished, stage)
    variables = EVERY_EPOCH if stage == "train" else {}
    started = time.monotonic()
    assert project.memvae(finished, *command(stage, output), **variables).returncode == 0
    seconds = time.monotonic() - started
    assert output.read_bytes() == whole
    for moment in faults.moments(KILLS.get(stage, FEWER), seconds):
        if output.exists():  # the last one ended before it could be killed
            for path in tmp_path.glob(f"{stage}*"):
                path.unlink()
        process = faults.start(finished, *command(stage, output), **variables)
        with faults.injected("SIGKILL at a random moment", stage):
            faults.end_after(process, moment)
            assert process.returncode in (0, -signal.SIGKILL)
            assert not output.exists() or output.read_bytes() == whole
    with faults.injected("the same command after the kills", stage):
        assert project.memvae(finished, *command(stage, output), **variables).returncode == 0
        assert output.read_bytes() == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_ended_by_a_signal_saves_its_last_whole_epoch_first(
    finished: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Without the signal no state would be saved before the end: the ten seconds between two are not over."""
    output = tmp_path / "model.h5"
    whole = expected(finished, "train")
    with faults.injected(f"{number.name} to the process group", "train"):
        process = faults.start(finished, *command("train", output), MEMVAE_SAVE_SECONDS="1000")
        text = faults.end_at_line(process, f"epoch 7/{EPOCHS}", number)
        assert process.returncode == 128 + number
        assert one_line(text, "train").endswith(f"ended by {number.name}; the same command continues")
        epoch = store.read(tmp_path / "model.state.h5", "state").attributes["epoch"]
        assert epoch >= 8, "the epoch that ran is finished and saved"
        assert {path.name for path in tmp_path.iterdir()} == {"longer.yaml", "model.state.h5", "model.state.h5.lock"}
        again = project.memvae(finished, *command("train", output))
        assert f"continues after epoch {epoch}" in again.stderr
        assert output.read_bytes() == whole


def test_a_second_signal_ends_a_training_at_once(finished: Path, tmp_path: Path) -> None:
    """A user who does not want to wait for the epoch; the state on disk stays whole."""
    output = tmp_path / "model.h5"
    with faults.injected("SIGINT twice to the process group", "train"):
        process = faults.start(finished, *command("train", output), **EVERY_EPOCH)
        assert process.stderr is not None
        for line in process.stderr:
            if f"epoch 5/{EPOCHS}" in line:
                break
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
        text = process.communicate()[1]
        assert process.returncode == 130
        assert "Traceback" not in text
        assert project.memvae(finished, *command("train", output)).returncode == 0
        assert output.read_bytes() == expected(finished, "train")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", [pytest.param(stage, marks=pytest.mark.release) for stage in ANALYSES])
def test_an_analysis_ended_by_a_signal_says_so_and_leaves_nothing(
    finished: Path, tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    """The signal comes at the worst moment: the file is written and has not got its name."""
    variables = faults.starting_with(
        tmp_path / "site",
        "import os\n"
        "replace = os.replace\n"
        f"os.replace = lambda *names: replace(*names) if {stage!r} not in str(names[1]) else os.killpg(0, {number})\n",
    )
    (tmp_path / "analyses").mkdir()
    output = tmp_path / "analyses" / f"{stage}.h5"
    with faults.injected(f"{number.name} to the process group", stage):
        process = faults.start(finished, *command(stage, output), **variables)
        text = process.communicate()[1]
        assert process.returncode == 128 + number, text
        assert "ended by" in one_line(text, stage)
        assert not list(output.parent.iterdir())
        assert project.memvae(finished, *command(stage, output)).returncode == 0
        assert output.read_bytes() == expected(finished, stage)


IMPORTED = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "memvae.analyses.slots.compute":
            try:
                os.kill(os.getpid(), {number})
            except BaseException:
                print("unwound", file=sys.stderr)
                raise
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_ends_a_stage_at_once(finished: Path, tmp_path: Path, number: signal.Signals) -> None:
    """An exception would pass through C++ code where torch imports, and abort the process."""
    variables = faults.starting_with(tmp_path / "site", IMPORTED.format(number=int(number)))
    with faults.injected(f"{number.name} during an import", "slots"):
        process = faults.start(finished, *command("slots", tmp_path / "slots.h5"), **variables)
        text = process.communicate()[1]
        assert process.returncode == 128 + number
        assert "ended by" in one_line(text, "slots") and "unwound" not in text
        assert not (tmp_path / "slots.h5").exists()


@pytest.mark.release
@pytest.mark.parametrize("stage", ANALYSES)
def test_an_analysis_ended_at_random_moments_leaves_all_or_nothing(finished: Path, tmp_path: Path, stage: str) -> None:
    """Before and after the stage's own work, while Python starts and ends, the signal ends the process itself."""
    output = tmp_path / f"{stage}.h5"
    for index, moment in enumerate(faults.moments(TERMS, 3)):
        number = (signal.SIGINT, signal.SIGTERM)[index % 2]
        with faults.injected(f"{number.name} at a random moment", stage):
            process = faults.start(finished, *command(stage, output))
            text = faults.end_after(process, moment, number)
            assert process.returncode in (0, 128 + number, -number) or "KeyboardInterrupt" in text, text
            if process.returncode == 0 or output.exists():
                assert output.read_bytes() == expected(finished, stage)
                output.unlink()
            Path(f"{output}.run.json").unlink(missing_ok=True)
            assert not list(tmp_path.iterdir())


# ---- file systems ----------------------------------------------------------------------------------------------------
RECORD = ".run.json"  # of a job: seconds, host, what it read and wrote
REPORTS = {"figure": ("fig7", "figures/tiny/fig7.png"), "table": ("slots", "results/tiny/tables/slots.csv")}


def report_command(kind: str, folder: Path) -> list[str]:
    name, path = REPORTS[kind]
    return [kind, name, "--configfile", faults.TINY, "--output", str(folder / Path(path).name)]


def siblings(path: Path) -> dict[str, bytes]:
    """The files of a table or a figure, all its formats, without the record of the job."""
    found = {other.name: other.read_bytes() for other in path.parent.glob(f"{path.stem}.*")}
    return {name: content for name, content in found.items() if not name.endswith(RECORD)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with faults.small_disk(tmp_path / "disk", 4096) as folder:
        yield folder


def test_a_full_disk_stops_a_training_that_goes_on_once_there_is_room(finished: Path, disk: Path) -> None:
    output = disk / "model.h5"
    whole = expected(finished, "train")
    process = faults.start(finished, *command("train", output), **EVERY_EPOCH)
    faults.end_at_line(process, f"epoch 5/{EPOCHS}", signal.SIGINT)
    state = (disk / "model.state.h5").read_bytes()
    for room in (0, 4, 64, 256):
        with faults.injected("full disk", "state"):
            filler = faults.fill(disk, room)
            result = project.memvae(finished, *command("train", output), **EVERY_EPOCH)
            assert result.returncode == 2
            line = one_line(result.stderr, "train")
            assert "No space left on device" in line and "check space" in line and str(disk) in line
            assert (disk / "model.state.h5").read_bytes() == state
            filler.unlink()
            assert set(faults.files(disk)) == {"longer.yaml", "model.state.h5", "model.state.h5.lock"}
    with faults.injected("room again after a full disk", "train"):
        assert project.memvae(finished, *command("train", output), **EVERY_EPOCH).returncode == 0
        assert output.read_bytes() == whole


def test_a_full_disk_stops_the_writing_of_a_model_and_keeps_the_finished_state(finished: Path, disk: Path) -> None:
    output = disk / "model.h5"
    whole = expected(finished, "train")
    shutil.copy(undisturbed(finished).with_name("model.state.h5"), disk)
    for room in (4, 40):
        with faults.injected("full disk", "model"):
            filler = faults.fill(disk, room)
            result = project.memvae(finished, *command("train", output))
            assert result.returncode == 2 and "No space left" in one_line(result.stderr, "train")
            filler.unlink()
            assert set(faults.files(disk)) == {"longer.yaml", "model.state.h5", "model.state.h5.lock"}
    assert project.memvae(finished, *command("train", output)).returncode == 0
    assert output.read_bytes() == whole


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=[] if stage == "slots" else pytest.mark.release) for stage in ANALYSES]
)
def test_a_full_disk_leaves_the_earlier_analysis_as_it_was(finished: Path, disk: Path, stage: str) -> None:
    output, whole = disk / f"{stage}.h5", expected(finished, stage)
    earlier = b"an earlier file"
    output.write_bytes(earlier)
    with faults.injected("full disk", stage):
        filler = faults.fill(disk, 4)
        result = project.memvae(finished, *command(stage, output))
        assert result.returncode == 2 and "No space left" in one_line(result.stderr, stage)
        filler.unlink()
        assert faults.files(disk) == {output.name: earlier}
        assert project.memvae(finished, *command(stage, output)).returncode == 0
        assert output.read_bytes() == whole


@pytest.mark.parametrize("kind", REPORTS)
def test_a_full_disk_leaves_an_earlier_table_or_figure_or_all_of_the_new_one(
    finished: Path, disk: Path, kind: str
) -> None:
    output = disk / Path(REPORTS[kind][1]).name
    whole = siblings(finished / REPORTS[kind][1])
    earlier = {name: b"an earlier file" for name in whole}
    for room in (0, 12) if kind == "figure" else (0,):  # kB; a table takes less than 12
        for name, content in earlier.items():
            (disk / name).write_bytes(content)
        with faults.injected("full disk", kind):
            filler = faults.fill(disk, room)
            result = project.memvae(finished, *report_command(kind, disk))
            assert result.returncode == 2 and "No space left" in one_line(result.stderr, kind)
            filler.unlink()
            found = {name: content for name, content in faults.files(disk).items() if not name.endswith(RECORD)}
            assert found.keys() == whole.keys()
            assert all(content in (earlier[name], whole[name]) for name, content in found.items())
            assert project.memvae(finished, *report_command(kind, disk)).returncode == 0
            assert siblings(output) == whole


def test_a_read_only_folder_is_refused_in_one_line(finished: Path, disk: Path) -> None:
    commands = {"train": command("train", disk / "model.h5"), "slots": command("slots", disk / "slots.h5")}
    commands |= {kind: report_command(kind, disk) for kind in REPORTS}
    before = faults.files(disk)
    faults.remount(disk, "ro")
    for stage, words in commands.items():
        with faults.injected("read-only folder", stage):
            result = project.memvae(finished, *words)
            assert result.returncode == 2
            line = one_line(result.stderr, stage)
            assert "cannot be written (Read-only file system)" in line and str(disk) in line
            assert faults.files(disk) == before
    faults.remount(disk, "rw")


def test_a_log_on_a_full_disk_ends_no_training(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.h5"
    whole = expected(finished, "train")
    with faults.injected("full disk", "log"), open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "memvae", *command("train", output)]
        subprocess.run(words, cwd=finished, env=project.environment(), stderr=full)
        assert output.read_bytes() == whole


# ---- the same folder twice, clocks ----------------------------------------------------------------------------------
def with_data(finished: Path, folder: Path) -> Path:
    """A project with the prepared data, where a workflow has a training to do."""
    made = project.make(folder)
    (made / "data").mkdir()
    shutil.copy(finished / "data/digits.h5", made / "data")
    (made / "changes.yaml").write_text(LONGER)
    return made


@pytest.mark.release
def test_of_two_workflows_in_one_folder_the_second_is_refused(finished: Path, tmp_path: Path) -> None:
    folder, target = with_data(finished, tmp_path / "project"), f"results/tiny/models/{RUN}.h5"
    whole = expected(finished, "train")
    words = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile", faults.TINY, "changes.yaml"]
    with faults.injected("two workflows started at once", "one folder"):
        both = [
            subprocess.Popen(words, cwd=folder, env=project.environment(), stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        texts = {process: process.communicate()[1] for process in both}
        refused = [process for process in both if process.returncode != 0]
        assert len(refused) <= 1, "\n".join(texts.values())
        for process in refused:
            assert "lock" in texts[process].lower()
        assert (folder / target).read_bytes() == whole


@pytest.mark.release
def test_inputs_from_the_future_are_refused_by_name_and_used_once_their_time_is_mended(
    finished: Path, tmp_path: Path
) -> None:
    folder, target = with_data(finished, tmp_path / "project"), f"results/tiny/models/{RUN}.h5"
    whole = expected(finished, "train")
    with faults.injected("clock set back: an input from the future", "workflow"):
        tomorrow = time.time() + 86400
        os.utime(folder / "data/digits.h5", (tomorrow, tomorrow))
        result = project.tiny(folder, target, changes=LONGER)
        assert result.returncode != 0 and "data/digits.h5" in result.stderr and "clock skew" in result.stderr
        os.utime(folder / "data/digits.h5")
        assert project.tiny(folder, target, changes=LONGER).returncode == 0
        assert (folder / target).read_bytes() == whole


def test_a_clock_set_back_during_a_training_changes_neither_bytes_nor_seconds(finished: Path, tmp_path: Path) -> None:
    """Every call of time.time in the training's process is an hour earlier than the one before."""
    variables = faults.starting_with(
        tmp_path / "site",
        "import itertools, time\n"
        "now, count = time.time, itertools.count()\n"
        "time.time = lambda: now() - 3600 * next(count)\n",
    )
    output = tmp_path / "model.h5"
    with faults.injected("clock set back while it runs", "train"):
        started = time.monotonic()
        result = project.memvae(finished, *command("train", output), **variables, **EVERY_EPOCH)
        assert result.returncode == 0, result.stderr
        assert output.read_bytes() == expected(finished, "train")
        seconds = json.loads(Path(f"{output}.run.json").read_text())["seconds"]
        assert 0 < seconds <= time.monotonic() - started
