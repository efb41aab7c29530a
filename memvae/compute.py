"""The device and the number of threads of a job: a setting of the job, so that results never depend on `--cores`."""

import os

import torch

from memvae.errors import InputError

THREADS = 1  # per job; parallelism comes from more jobs


def set_up(threads: int = THREADS) -> torch.device:
    """Sets threads and denormal handling; the device is the environment variable MEMVAE_DEVICE, or what there is.

    Raises InputError when a device is asked for that is not there.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # Adam's fading moments become denormal numbers, which are slow
    torch.backends.cuda.matmul.allow_tf32 = False
    wanted = os.environ.get("MEMVAE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise InputError(f"MEMVAE_DEVICE: found {wanted!r}, expected cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("MEMVAE_DEVICE: found cuda, but torch sees no GPU here; set it to cpu or leave it out")
    return torch.device(wanted)
