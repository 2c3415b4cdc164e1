"""Measured speed: `python -m benchmarks` (or `make bench`) prints every figure with its definition."""
