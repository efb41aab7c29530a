"""One thread per process: the tests run side by side, and results are those of a job (memvae/compute.py)."""

import os
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
for name in ("MEMVAE_THREADS", "MEMVAE_COMPILE", "MEMVAE_DEVICE"):  # a test that needs one sets it
    os.environ.pop(name, None)


@pytest.fixture
def double() -> Iterator[None]:
    """float64 by default, for comparisons with the numpy reference."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
