"""SIGINT (Ctrl-C) and SIGTERM (a scheduler's notice before SIGKILL): a stage ends at once, or saves its state first."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from memvae.progress import say

NUMBERS = (signal.SIGINT, signal.SIGTERM)
IMPORTING = "<frozen importlib._bootstrap>"


class Ended(KeyboardInterrupt):
    """By a signal of this number; a shell expects the exit code 128 + number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def tell(number: int) -> None:
    """The line with which the command line ends."""
    say(f"memvae {sys.argv[1]}: ended by {signal.Signals(number).name}; the same command continues")


@dataclass
class Hold:
    """unsaved: whether a signal waits; waiting: the number of the signal that does, or 0."""

    unsaved: bool = False
    waiting: int = 0

    def check(self) -> None:
        """Raises Ended when a signal has waited and everything is saved."""
        if self.waiting and not self.unsaved:
            raise Ended(self.waiting)


@contextmanager
def raising() -> Iterator[None]:
    """Within it both signals raise Ended, wherever the program is: `finally` and `with` tidy up."""

    with _handled_by(_end):
        yield


@contextmanager
def held() -> Iterator[Hold]:
    """Within it the first signal waits while something is unsaved; another one, or one at any other time, raises."""
    hold = Hold()

    def wait(number: int, frame: FrameType | None) -> None:
        if not hold.unsaved or hold.waiting:
            _end(number, frame)
        hold.waiting = number

    with _handled_by(wait):
        yield hold


def _end(number: int, frame: FrameType | None) -> None:
    """Raises Ended; during an import, when nothing is at work yet, ends the process at once: torch's C++ code imports
    Python modules, and an exception that reaches it there is an abort."""
    while frame:
        if frame.f_code.co_filename == IMPORTING:
            tell(number)
            os._exit(128 + number)
        frame = frame.f_back
    raise Ended(number)


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    """Only the main thread can handle signals; in another one everything stays as it is.

    A signal that is ignored, as SIGINT behind `nohup` and of a script's jobs in the background, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in NUMBERS if signal.getsignal(number) != signal.SIG_IGN]
    earlier = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, former in earlier.items():
            signal.signal(number, former)
