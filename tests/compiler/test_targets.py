"""Every instruction set that this machine can run: functions and sums in loops, whole models, names of targets."""

import functools
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both import compiled
from native import FLOATS, TARGETS, Kernel, check_instructions
from support import ROOT, command

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import apply
from netc.compiler.program.kernels import Contraction
from netc.compiler.targets import named as targets
from netc.compiler.targets.cpu.compile import parts_of
from netc.compiler.targets.cpu.math import WORDS
from netc.compiler.targets.cpu.source import KernelSource, source_of
from netc.compiler.targets.machine import Machine, host
from netc.compiler.targets.named import machine_for, runnable

Array = np.ndarray[Any, Any]

# ------------------------------------------------------------------ loops

# for each function of math.py: its domain in the test, its meaning, and the largest error in units in the last place,
# in f32 and f64
_SQUARE = {"exp": (-80, 80), "tanh": (-9, 9), "sigmoid": (-30, 30), "sin": (-9, 9), "cos": (-9, 9), "erf": (-4, 4)}
_DOMAINS = {
    "log": (1e-6, 1e6),
    "log1p": (-0.9, 9),
    "expm1": (-3, 9),
    "sqrt": (0, 1e6),
    "floor": (-9, 9),
    "rint": (-9, 9),
}
_REFERENCES: dict[str, Callable[[Array], Array]] = {
    **{
        name: getattr(np, name)
        for name in ("exp", "tanh", "sin", "cos", "log", "log1p", "expm1", "sqrt", "floor", "rint")
    },
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf),
    "pow": lambda x: np.power(x, 1.75),
}
_ULPS = {"f32": 8, "f64": 4}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_functions_of_loops(target: str, dtype: str) -> None:
    """One kernel has a loop for each function. An element has the same bits in a vector and alone."""
    domains = {**_SQUARE, **_DOMAINS, "pow": (1e-3, 9)}
    assert {f"{name}_{dtype}" for name in domains} == {
        word for word in WORDS if word.endswith(dtype) and "key" not in word and not word.startswith("unit")
    }
    kind, lines = FLOATS[dtype], ["def kernel(p0, p1, n0):"]
    for i, name in enumerate(domains):
        operands = f"load_{dtype}_0(p0, i0 + n0 * {i})" + (f", {dtype.upper()}(1.75)" if name == "pow" else "")
        lines += ["    for i0 in range(n0):", f"        store_{dtype}_1(p1, i0 + n0 * {i}, {name}_{dtype}({operands}))"]
    kernel = Kernel(KernelSource("loop", "\n".join(lines) + "\n", 3), machine_for(target))
    check_instructions(target, kernel.assembly)

    def run(x: Array) -> Array:
        x, result = np.ascontiguousarray(x), np.full(x.shape, np.nan, kind)
        kernel.call(x.ctypes.data, result.ctypes.data, x.shape[1])
        return result

    rng = np.random.default_rng(1)
    x = np.stack([rng.uniform(low, high, 1003) for low, high in domains.values()]).astype(kind)
    together = run(x)
    for name, row, result in zip(domains, x, together, strict=True):
        expected = _REFERENCES[name](row.astype(np.float64))
        units = np.abs(result - expected) / np.spacing(np.maximum(np.abs(expected), np.finfo(kind).tiny).astype(kind))
        assert units.max() <= _ULPS[dtype], f"{name}: {units.max()} units at {row[units.argmax()]}"
    alone = np.concatenate([run(x[:, i : i + 1]) for i in range(0, 1003, 59)], axis=1)
    assert alone.tobytes() == np.ascontiguousarray(together[:, ::59]).tobytes()
    assert np.isnan(run(np.full((len(domains), 9), np.nan, kind))).all()
    infinite = dict(zip(domains, run(np.full((len(domains), 9), np.inf, kind))[:, 0], strict=True))
    assert all(infinite[name] == np.inf for name in ("exp", "log", "log1p", "expm1", "sqrt"))
    np.testing.assert_allclose([infinite[name] for name in ("tanh", "sigmoid", "erf")], 1, rtol=1e-6)


def reductions(dtype: str) -> tuple[Graph, dict[str, Array]]:
    """Sums in order and in blocks, along the batch and other axes, and extremes with their positions, also of NaN."""
    graph, rng = Graph(), np.random.default_rng(2)
    graph.precision = dtype
    x = graph.leaf(Role.INPUT, "x", Type(dtype, ("batch", 7, 333)))
    for name in ("sum", "max", "min"):
        for over in ((2,), (1,), (0,)):
            graph.results[parse_result(f"{name}{over[0]}")] = apply(name, x, over=over)
    graph.results[parse_result("argmax2")] = apply("argmax", x, over=(2,))
    graph.results[parse_result("argmax1")] = apply("argmax", x, over=(1,))
    array = rng.standard_normal((5, 7, 333)).astype(FLOATS[dtype])
    array[1, 2, 3] = array[4, 6, 332] = np.nan
    return graph, {"x": array}


@functools.cache
def reduced(target: str, dtype: str) -> dict[str, Array]:
    graph, arrays = reductions(dtype)
    return compiled(graph, arrays, machine=machine_for(target))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_sums_and_extremes(target: str, dtype: str) -> None:
    """Sums have the same bits on every target, because their order does not depend on the width of vectors."""
    (x,), tolerance = reductions(dtype)[1].values(), 1e-4 if dtype == "f32" else 1e-12
    for name, result in reduced(target, dtype).items():
        operation, axis = name[:-1], int(name[-1])
        expected = getattr(np, operation)(x if operation != "sum" else x.astype(np.float64), axis=axis)
        if operation == "sum":
            np.testing.assert_allclose(result, expected, atol=tolerance, err_msg=name)
        else:
            assert np.array_equal(result, expected, equal_nan=operation != "argmax"), name
        assert result.tobytes() == reduced(TARGETS[0], dtype)[name].tobytes(), name


# ------------------------------------------------------------------ models

_CONVOLUTION = """model {
  input x: float[12, 12, 3]
  target y: class(4)
  z = x -> conv(9, kernel = 3) -> relu -> flatten -> dense(4)
  loss cross_entropy(z, y)
}
train {
  batch = 18
  optimizer = sgd(lr = 0.1)
}
"""
_RECURRENCE = """model {
  input x: float[time, 9]
  target y: float[3]
  output p = last(x -> lstm(17)) -> dense(3)
  loss mse(p, y)
}
train {
  batch = 18
  optimizer = sgd(lr = 0.1)
}
"""


def samples(text: str) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    if text is _CONVOLUTION:
        return {"x": rng.standard_normal((18, 12, 12, 3)).astype(np.float32), "y": rng.integers(0, 4, 18)}
    lengths = rng.integers(1, 30, 18)
    x = [rng.standard_normal((length, 9)).astype(np.float32) for length in lengths]
    return {"x": x, "y": rng.standard_normal((18, 3)).astype(np.float32)}


def trained(text: str, **options: Any) -> tuple[list[float], dict[str, Array]]:
    """The losses of two steps, and the parameters and states after them."""
    program = netc.compile(netc.parse(text), seed=1, **options)
    losses = [program.step(samples(text))["loss"] for _ in range(2)]
    return losses, {name: array.copy() for name, array in program.persistent.items()}


@pytest.mark.parametrize("text", [_CONVOLUTION, _RECURRENCE], ids=["convolution", "recurrence"])
@pytest.mark.parametrize("target", TARGETS)
def test_models_train_on_every_target(target: str, text: str, is_long: bool) -> None:
    """They agree with the interpreter, with the same bits on any number of threads and for any cache sizes."""
    if not is_long and (target not in (TARGETS[0], TARGETS[-1]) or (text == _CONVOLUTION and target != TARGETS[0])):
        pytest.skip("there is no time: the least and the widest target, the convolution for the least")
    small = f"{target}:l1=4K,l2=8K"
    losses, state = trained(text, machine=target, threads=1)
    expected, reference = trained(text, backend="reference", machine=target)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for name, array in reference.items():
        np.testing.assert_allclose(state[name], array, atol=2e-4, err_msg=name)
    for threads, machine in ((2, target), (3, target), (1, small), (3, small)):
        other, same = trained(text, machine=machine, threads=threads)
        assert other == losses
        for name, array in state.items():
            assert same[name].tobytes() == array.tobytes(), (name, threads, machine)


# ------------------------------------------------------------------ descriptions


def test_a_text_describes_a_target() -> None:
    machine = machine_for("sse2:l1=16K,l2=1M,cores=3" if "sse2" in TARGETS else "host:l1=16K,l2=1M,cores=3")
    assert (machine.first_cache, machine.second_cache, machine.cores) == (16 << 10, 1 << 20, 3)
    assert machine_for(machine) is machine
    assert machine_for("host") == host()


def test_the_environment_names_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_TARGET", "host:l2=8K,cores=1")
    program = netc.compile(netc.parse(_RECURRENCE))
    assert program.machine == machine_for()
    assert (program.machine.second_cache, program.workers.count) == (8 << 10, 1)
    monkeypatch.delenv("NETC_TARGET")
    assert machine_for() == host()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("avx3", "unknown target.*`avx3` is none of host, sse2, avx2, avx512"),
        ("host:l3=1M", "unknown setting of a target.*there are l1, l2, cores"),
        ("host:l1", "a setting of a target is wrong.*`l1` is bytes, such as 32K or 1M"),
        ("host:l2=0", "a setting of a target is wrong"),
        ("host:cores=2K", "`cores` is a whole number of cores"),
    ],
)
def test_a_wrong_description_is_a_message(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)E1006.*{message}") as raised:
        netc.compile(netc.parse(_RECURRENCE), machine=text)
    assert isinstance(raised.value, netc.Fault)


def test_a_target_that_this_machine_cannot_run_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_host_features", lambda: {"sse2": True, "avx2": True})
    assert runnable() == ("sse2",)
    with pytest.raises(
        ValueError, match=r"(?s)cannot run code for avx2.*does not have bmi, .*fma.*hint: machine = .sse2"
    ):
        machine_for("avx2")


def test_commands_report_a_wrong_target_with_status_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for target, status in (("avx3", 1), ("host:l2=64K", 0)):
        monkeypatch.setenv("NETC_TARGET", target)
        done = command("check", ROOT / "examples" / "iris.net", cwd=tmp_path)
        assert done.returncode == status, done.stderr
        assert ("error[E1006]" in done.stderr) == (status == 1)
        assert "Traceback" not in done.stderr


def test_the_key_of_a_kernel_contains_exactly_what_decides_its_code() -> None:
    machine, source = machine_for("host"), source_of(Contraction("f32"))
    decides = {"cpu": "x", "features": "x", "vector_bytes": 128, "has_fma": not machine.has_fma, "registers": 8}
    for item in fields(Machine):
        value = decides.get(item.name, 7)
        is_same = parts_of(source, replace(machine, **{item.name: value})).name == parts_of(source, machine).name
        assert is_same == (item.name not in decides), item.name
