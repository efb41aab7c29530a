"""One thread per process: the tests run side by side, and results are those of a job (memvae/compute.py)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
