"""netc beside PyTorch and JAX on the same machine, in one run, as ratios: `python -m benchmarks`."""
