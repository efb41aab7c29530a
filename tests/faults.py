"""Faults to inject: signals at random moments, full and read-only file systems, damaged bytes; and their counts."""

import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import project
import pytest
from hypothesis import strategies as st

SEED = 20161106  # of every random moment and place
TINY = str(project.ROOT / "tests/tiny.yaml")


@dataclass
class Counts:
    injected: int = 0
    survived: int = 0
    wrong: int = 0

    def add(self, injected: int, survived: int, wrong: int) -> None:
        self.injected, self.survived, self.wrong = (
            self.injected + injected,
            self.survived + survived,
            self.wrong + wrong,
        )


COUNTS: dict[tuple[str, str], Counts] = defaultdict(Counts)  # (fault, where)


@contextmanager
def injected(fault: str, where: str) -> Iterator[None]:
    """Counts one fault. It is survived when every check of the block holds, else its result is wrong."""
    counts = COUNTS[fault, where]
    counts.injected += 1
    try:
        yield
    except KeyboardInterrupt:  # of whoever runs the tests
        counts.injected -= 1
        raise
    except BaseException:  # pytest's own failures are no Exception
        counts.wrong += 1
        raise
    counts.survived += 1


def summary() -> list[str]:
    """The counts as the lines of a Markdown table."""
    rows = [(*key, *map(str, vars(counts).values())) for key, counts in sorted(COUNTS.items())]
    total = [str(sum(vars(counts)[name] for counts in COUNTS.values())) for name in vars(Counts())]
    lines = [("fault", "where", "injected", "survived", "wrong results"), ("---", "---", "---:", "---:", "---:")]
    return [f"| {' | '.join(row)} |" for row in (*lines, *rows, ("all", "", *total))]


# ---- signals ---------------------------------------------------------------------------------------------------------
def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`memvae` as a process group of its own, as a scheduler or a shell starts it; its lines are in `stderr`."""
    return subprocess.Popen(
        [sys.executable, "-m", "memvae", *arguments],
        cwd=folder,
        env=project.environment(**variables),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored
    )


def end_after(process: subprocess.Popen[str], seconds: float, number: int = signal.SIGKILL) -> str:
    """Sends the signal to the whole group after some seconds, if it still runs. Returns its lines when it has ended."""
    try:
        return process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
        return process.communicate()[1]


def end_at_line(process: subprocess.Popen[str], words: str, number: int) -> str:
    """Sends the signal to the whole group when a line with these words appears. Returns the lines when it has ended."""
    lines = []
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            lines.append(line)
            if words in line:
                os.killpg(process.pid, number)
    return "".join(lines)


def starting_with(folder: Path, statements: str) -> dict[str, str]:
    """The variables with which a process of Python runs these statements before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(statements)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(project.ROOT)])}


def moments(count: int, seconds: float) -> Iterator[float]:
    """`count` random moments between 0 and `seconds`, the same ones every time."""
    draw = random.Random(SEED)
    return (draw.uniform(0, seconds) for _ in range(count))


# ---- file systems ----------------------------------------------------------------------------------------------------
@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own at `folder`; skips the test where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("takes root and the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, kilobytes_left: int) -> Path:
    """A file that leaves so much room on a small disk."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 1024 * kilobytes_left))
    return filler


def remount(disk: Path, mode: str) -> None:
    """mode: ro or rw."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder by its path, hidden and temporary ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- bytes -----------------------------------------------------------------------------------------------------------
share = st.floats(0, 1, exclude_max=True)  # a place in a file
damages = st.one_of(
    st.tuples(st.just("truncated"), share),
    st.tuples(st.just("zeroed"), share, st.integers(1, 4096)),
    st.tuples(st.just("bit-flipped"), st.lists(st.tuples(share, st.integers(0, 7)), min_size=1, max_size=8)),
)


def damaged(content: bytes, damage: tuple) -> bytes:
    """The content with one of `damages`."""
    kind, where, *more = damage
    broken = bytearray(content)
    if kind == "truncated":
        del broken[int(where * len(broken)) :]
    elif kind == "zeroed":
        start = int(where * len(broken))
        stop = min(start + more[0], len(broken))
        broken[start:stop] = bytes(stop - start)
    else:
        for place, bit in where:
            broken[int(place * len(broken))] ^= 1 << bit
    return bytes(broken)
