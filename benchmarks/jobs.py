"""One job with two threads against two jobs with one thread each, in processes of their own that take turns."""

import multiprocessing
import time
from multiprocessing.connection import Connection

import torch

from benchmarks.measure import Row, summarise
from benchmarks.problem import BATCHES, make
from memvae.progress import say

RUN = "mnist-mem_vae-k1-s0"
VARIANTS = (("float32", False), ("bf16", True))
EPOCHS = 5  # of one turn


def measure(rounds: int) -> list[Row]:
    """Rows per variant of our step: ms of the machine per step, one job with two threads first."""
    rows = []
    for precision, compiled in VARIANTS:
        jobs = [_Job(threads, precision, compiled) for threads in (2, 1, 1)]
        for job in jobs:
            job.pipe.recv()
        say(f"jobs: {precision}, {'compiled' if compiled else 'eager'}")
        seconds: dict[str, list[float]] = {"one job, 2 threads": [], "two jobs, 1 thread each": []}
        for _ in range(rounds):
            seconds["one job, 2 threads"].append(_turn(jobs[:1]))
            seconds["two jobs, 1 thread each"].append(_turn(jobs[1:]))
        for job in jobs:
            job.pipe.send(None)
            job.process.join()
        name = f"jobs on 2 cores, {'compiled' if compiled else 'eager'} {precision}"
        rows += summarise(name, make(RUN).title, 1, seconds, EPOCHS * BATCHES)
    return rows


class _Job:
    def __init__(self, threads: int, precision: str, compiled: bool):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, threads, precision, compiled), daemon=True)
        self.process.start()


def _work(pipe: Connection, threads: int, precision: str, compiled: bool) -> None:
    """Says that it is ready, then works on every word until it hears None."""
    from benchmarks.variants_torch import Ours
    from memvae.model import device as compute

    compute.set_up()
    torch.set_num_threads(threads)
    variant = Ours(make(RUN), precision, compiled)
    variant.epoch()
    pipe.send("ready")
    while pipe.recv():
        for _ in range(EPOCHS):
            variant.epoch()
        pipe.send("done")


def _turn(jobs: list[_Job]) -> float:
    """Seconds per job's share of work: two jobs that work side by side do twice the work."""
    started = time.perf_counter()
    for job in jobs:
        job.pipe.send("go")
    for job in jobs:
        job.pipe.recv()
    return (time.perf_counter() - started) / len(jobs)
