"""What a log tells of long work."""

import pytest

from memvae import progress


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (5399, "90 min"), (11520, "3.2 h")]
)
def test_a_span_is_told_in_the_unit_a_reader_would_choose(seconds: float, words: str) -> None:
    assert progress.readable(seconds) == words


def test_what_is_left_is_told_without_the_first_step_which_may_compile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """100 s for the first step, 10 s for each further one; started after 2 of 6 steps."""
    clock = iter([0.0, 100.0, 110.0, 120.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    counted = progress.Progress("run epoch", 6, done=2, interval=0)
    for detail in ("bound -9", "bound -8", "", "bound -7"):
        counted.step(detail)
    assert capsys.readouterr().err.splitlines() == [
        "run epoch 3/6 bound -9, 2 min",
        "run epoch 4/6 bound -8, 2 min, 20 s left",
        "run epoch 5/6 2 min, 10 s left",
        "run epoch 6/6 bound -7, 2 min, 0 s left",
    ]


def test_a_log_has_a_line_at_most_every_interval_and_the_last_always(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 100, 4))  # a step every 4 s
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    counted = progress.Progress("images", 8, interval=10)
    for _ in range(8):
        counted.step()
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["3/8", "6/8", "8/8"]
