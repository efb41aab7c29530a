"""SIGINT (Ctrl-C) and SIGTERM (a scheduler's notice before SIGKILL): a stage ends at once, or after it has saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Ended(KeyboardInterrupt):
    """By a signal of this number; a shell expects the exit code 128 + number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


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

    def end(number: int, _: FrameType | None) -> None:
        raise Ended(number)

    with _handled_by(end):
        yield


@contextmanager
def held() -> Iterator[Hold]:
    """Within it the first signal waits while something is unsaved; another one, or one at any other time, raises."""
    hold = Hold()

    def wait(number: int, _: FrameType | None) -> None:
        if not hold.unsaved or hold.waiting:
            raise Ended(number)
        hold.waiting = number

    with _handled_by(wait):
        yield hold


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
