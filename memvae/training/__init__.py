"""The objective, the optimiser and the resumable training loop."""
