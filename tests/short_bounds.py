"""Bounds of the machine that are measured in a moment: no test depends on how near they are to the truth."""

from netc.compiler.targets.cpu.bounds import peak, streams


def measure_once() -> None:
    """Bounds are the best of one run in this process, and in those that fork from it, where netc takes up to 200."""
    for function in (peak.shortest, streams.measure_rates, streams.last_cache_misses):
        function.__defaults__ = (1,)
