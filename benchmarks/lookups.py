"""Steps with lookups in tables of many rows: their time beside that of a small table, and the dense update of a table
beside the memory's bandwidth."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

import netc
from netc.runtime.execution.workers import Workers
from netc.runtime.program import Program

Array = np.ndarray[Any, Any]
SMALL, MIDDLE, LARGE = 1_000, 2_000, 1_000_000  # rows; the first is updated as a whole, the others row by row
_WIDTH, _BATCH, _LOOKUPS, _STEPS = 32, 32, 10, 100
_OPTIMIZERS = ("sgd(lr = 0.1)", "adagrad(lr = 0.1)", "adam(lr = 0.01, lazy = true)")


def table(rounds: int) -> list[list[str]]:
    """One row for each optimizer: microseconds per step, measured in turns, and the ratio of largest to smallest.

    All look up the same rows, the first thousand, so that the ratio says what a table costs and not what a cache does.
    """
    heads = [f"{rows:,} rows" for rows in (SMALL, MIDDLE, LARGE)]
    lines = [[f"lookups, {_BATCH} x {_LOOKUPS} in rows of {_WIDTH}, us", "threads", *heads, "large / small"]]
    for threads in (1, 2):
        for optimizer in _OPTIMIZERS:
            programs = {rows: _program(rows, optimizer, threads) for rows in (SMALL, MIDDLE, LARGE)}
            best = _best({rows: _steps(program) for rows, program in programs.items()}, rounds)
            each = {rows: seconds / _STEPS for rows, seconds in best.items()}
            ratio = f"{each[LARGE] / each[SMALL]:.2f}"
            lines.append([optimizer, str(threads), *(f"{each[rows] * 1e6:.1f}" for rows in programs), ratio])
    return lines


def streams(rounds: int) -> list[list[str]]:
    """The step of dense Adam with a large table, beside a triad: both in bytes that go to or come from memory.

    Adam reads and writes three arrays in place. The triad `a = b + s * c` reads two and writes one, whose lines the
    processor reads as well before it writes them.
    """
    lines = [["dense Adam", "threads", "ms", "GB/s", "triad, GB/s", "of the bandwidth"]]
    nbytes = 4 * LARGE * _WIDTH
    for threads in (1, 2):
        program = _program(LARGE, "adam(lr = 0.01)", threads)
        best = _best({"adam": _steps(program, 1), "triad": _triad(threads)}, rounds)
        adam, triad = 6 * nbytes / best["adam"], 4 * nbytes / best["triad"]
        rates = [f"{best['adam'] * 1e3:.1f}", f"{adam / 1e9:.1f}", f"{triad / 1e9:.1f}", f"{adam / triad:.0%}"]
        lines.append([f"{LARGE:,} rows of {_WIDTH}", str(threads), *rates])
    return lines


def _program(rows: int, optimizer: str, threads: int) -> Program:
    text = (
        f"model {{\n  input t: class({rows})[{_LOOKUPS}]\n  target y: class(4)\n"
        f"  z = t -> embed({_WIDTH}) -> mean(over = 0) -> dense(4)\n  loss cross_entropy(z, y)\n}}\n"
        f"train {{\n  optimizer = {optimizer}\n  batch = {_BATCH}\n}}\n"
    )
    return netc.compile(netc.parse(text), threads=threads)


def _steps(program: Program, count: int = _STEPS) -> Callable[[], object]:
    """Runs some steps in one call, on other rows in each."""
    rng = np.random.default_rng(0)
    samples = count * _BATCH
    fields = {
        "t": rng.integers(0, SMALL, (samples, _LOOKUPS)).astype(np.int32),
        "y": rng.integers(0, 4, samples).astype(np.int32),
    }
    order = np.arange(samples)
    return lambda: program.steps(fields, order, 0)


def _triad(threads: int) -> Callable[[], object]:
    """The triad over arrays of the size of the large table, on some threads."""
    arrays = [np.ones(LARGE * _WIDTH, np.float32) for _ in range(3)]
    shares = [[part[i] for part in (np.array_split(array, threads) for array in arrays)] for i in range(threads)]
    workers = Workers(threads)
    return lambda: workers.run(lambda member: _compiled_triad()(*shares[member], np.float32(0.5)))


@cache
def _compiled_triad() -> Callable[..., None]:
    import numba

    def triad(a: Array, b: Array, c: Array, s: np.float32) -> None:
        for i in range(len(a)):
            a[i] = b[i] + s * c[i]

    compiled: Callable[..., None] = numba.njit(nogil=True)(triad)
    return compiled


def _best(runs: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """The shortest time of each, measured in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:  # the first one compiles
                best[name] = min(best[name], time.perf_counter() - start)
    return best
