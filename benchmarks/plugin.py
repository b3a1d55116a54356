"""Compares an operation of a package with a built-in one of the same form, which has the same loops and kernel
calls."""

import sys
import time
from pathlib import Path

import numpy as np

import netc
from netc.compiler.ir.value import OPERATIONS, register
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import run_passes, training_graph
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace
from netc.extend import apply, elementwise
from netc.runtime.plugins import load
from netc.runtime.program import Program

_BATCH, _STEPS = 256, 10
_EXTRAS = Path(__file__).parent.parent / "examples" / "plugin"


def table(rounds: int) -> list[list[str]]:
    """One row for each pair of operations: microseconds per step, measured in turns, their ratio, and the kernel
    calls."""
    sys.path.insert(0, str(_EXTRAS))
    load(["netc_extras.mish"])  # as `--plugin` does
    mish, silu = OPERATIONS["mish"], OPERATIONS["silu"]
    register(replace(mish, name="built_in_mish"))  # as built-in operations are registered
    netc.register(
        elementwise(
            "silu_again",
            silu.doc,
            scalar=silu.lower.expression,  # type: ignore[union-attr]
            reference=silu.reference,
            gradient=lambda g, r, x: g * (apply("sigmoid", x) * (1 + x * (1 - apply("sigmoid", x)))),
        )
    )
    rows = [
        [
            "an operation of a package, 512-512-8, batch 256, us",
            "built in",
            "of a package",
            "built in / package",
            "kernel calls",
        ]
    ]
    for built_in, package in (("silu", "silu_again"), ("built_in_mish", mish.name)):
        programs = {name: _program(name) for name in (built_in, package)}
        best = _measured(programs, rounds)
        calls = "/".join(
            str(len(lower(run_passes(training_graph(program.model)), _BATCH, machine_for()).tasks))
            for program in programs.values()
        )
        ratio = f"{best[built_in] / best[package]:.3f}"
        rows.append([f"{built_in}, {package}", *(f"{best[name] * 1e6:.1f}" for name in programs), ratio, calls])
    return rows


def _program(operation: str) -> Program:
    layers = f"x -> dense(512) -> {operation} -> dense(512) -> {operation} -> dense(8)"
    text = f"model {{\n  input x: float[512]\n  target y: float[8]\n  z = {layers}\n  loss mse(z, y)\n}}\n"
    return netc.compile(netc.parse(f"{text}train {{ batch = {_BATCH} }}\n"), threads=1)


def _measured(programs: dict[str, Program], rounds: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((_BATCH, 512)).astype(np.float32), "y": np.zeros((_BATCH, 8), np.float32)}
    order, best = np.tile(np.arange(_BATCH), _STEPS), dict.fromkeys(programs, float("inf"))
    for turn in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program.steps(fields, order, 0)
            spent = (time.perf_counter() - start) / _STEPS
            if turn:  # the first step compiles
                best[name] = min(best[name], spent)
    return best
