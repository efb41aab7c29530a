"""Progress of long work: a live line on a terminal, plain lines in a log."""

import contextlib
import sys
import time


def say(text: str) -> None:
    """One plain line on standard error. A log that cannot be written, as on a full disk, ends no work."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def readable(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Counts steps of known number; prints `label 3/40 detail, 12 s, 3 min left`.

    What is left is told from the second step on, for the first one may compile. On a terminal one line is rewritten; in
    a log a line appears at most every `interval` seconds, and the last always.
    """

    def __init__(self, label: str, total: int, done: int = 0, interval: float = 10.0):
        self.label, self.total, self.first, self.done, self.interval = label, total, done, done, interval
        self.started = self.printed = self.warm = time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self, detail: str = "", always: bool = False) -> None:
        """One more step is done; `always`: its line goes into the log whatever the interval."""
        self.done += 1
        now = time.monotonic()
        steps = self.done - self.first
        if steps == 1:
            self.warm = now
        last = self.done >= self.total
        if not (self.live or always or last or now - self.printed >= self.interval):
            return
        self.printed = now
        parts = [detail, readable(now - self.started)]
        if steps > 1:
            parts.append(f"{readable((now - self.warm) / (steps - 1) * (self.total - self.done))} left")
        text = f"{self.label} {self.done}/{self.total} {', '.join(filter(None, parts))}"
        if self.live:
            with contextlib.suppress(OSError):  # the terminal is gone
                print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            say(text)
