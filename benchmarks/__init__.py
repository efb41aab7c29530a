"""What a training step and a likelihood cost here, beside what else a user would pick: `python -m benchmarks`."""
