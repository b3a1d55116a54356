"""Every instruction set that this machine can run: functions and sums in loops, whole models, names of targets."""

import functools
import math
import re
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from both import compiled
from math_references import REFERENCES, errors, operands
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
from netc.compiler.targets import processor
from netc.compiler.targets.cpu.compile import kernel_module, parts_of
from netc.compiler.targets.cpu.math.errors import ERRORS
from netc.compiler.targets.cpu.math.functions import FUNCTIONS
from netc.compiler.targets.cpu.source import KernelSource, source_of
from netc.compiler.targets.machine import Machine, host
from netc.compiler.targets.named import machine_for, runnable
from netc.dsl.structs import replace
from tests.math_errors import computed as computed_by_kernel

Array = np.ndarray[Any, Any]

# ------------------------------------------------------------------ loops

_SECOND = 1.75  # the second operand of functions of two


@functools.cache
def functions_kernel(target: str, dtype: str) -> tuple[list[str], Kernel]:
    """A kernel with a loop for each function of floats, and their names."""
    names = [word.removesuffix(f"_{dtype}") for word in FUNCTIONS if word.endswith(dtype)]
    names = [name for name in names if "key" not in name and name not in ("unit", "fma", "as_bf16")]
    lines = ["def kernel(p0, p1, n0):"]
    for i, name in enumerate(names):
        two = f", {dtype.upper()}({_SECOND})" if len(FUNCTIONS[f"{name}_{dtype}"].operands) == 2 else ""
        call = f"{name}_{dtype}(load_{dtype}_0(p0, i0 + n0 * {i}){two})"
        lines += ["    for i0 in range(n0):", f"        store_{dtype}_1(p1, i0 + n0 * {i}, {call})"]
    return names, Kernel(KernelSource("\n".join(lines) + "\n", 3), machine_for(target))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_functions_of_loops(target: str, dtype: str) -> None:
    """Their errors are within what is stated. Each loop has vectors and calls no function of libm. An element has the
    same bits in a vector and alone, among small angles and large ones."""
    kind = FLOATS[dtype]
    names, kernel = functions_kernel(target, dtype)
    assert set(names) == REFERENCES.keys() == ERRORS.keys()
    check_instructions(target, kernel.assembly)
    assert kernel.text.count("\nvector.body") == len(names), "a loop has no vectors"
    called = set(re.findall(r"call [^@\n]*@([\w.]+)\(", kernel.text))
    ours = re.compile(r"llvm\..*|part\d+|netc_.*|large_.*")
    assert not [name for name in called if not ours.fullmatch(name)]

    def run(x: Array) -> Array:
        x, result = np.ascontiguousarray(x), np.full(x.shape, np.nan, kind)
        kernel.call(x.ctypes.data, result.ctypes.data, x.shape[1])
        return result

    x = np.stack([operands(name, dtype, 1003) for name in names])
    together = run(x)
    for name, row, result in zip(names, x, together, strict=True):
        second = [np.full_like(row, _SECOND)] if name in ("pow", "atan2") else []
        units = errors(name, result, row, *second)
        assert units.max() <= ERRORS[name][dtype == "f64"], f"{name}: {units.max()} units at {row[units.argmax()]!r}"
    alone = np.concatenate([run(x[:, i : i + 1]) for i in range(0, 1003, 59)], axis=1)
    assert alone.tobytes() == np.ascontiguousarray(together[:, ::59]).tobytes()
    for count in (3, 8, 17, 31, 33, 70):  # remainders of vectors, and of four at a time
        assert run(x[:, 7 : 7 + count]).tobytes() == np.ascontiguousarray(together[:, 7 : 7 + count]).tobytes()
    assert np.isnan(run(np.full((len(names), 9), np.nan, kind))).all()


@pytest.mark.parametrize(("name", "dtype"), [("exp", "f32"), ("exp", "f64"), ("pow", "f64"), ("pow", "f32")])
@pytest.mark.parametrize("target", sorted(set(TARGETS) & {"avx2", "avx512"}))
def test_instructions_of_interleaved_loops_keep_their_order(target: str, name: str, dtype: str) -> None:
    """Boundaries stand in loops of several vectors alone, 16 multiply-adds apart, if all floats have one width."""
    operands = "x, x" if name == "pow" else "x"
    text = f"def kernel(p0, p1, n0):\n    for i in range(n0):\n        x = load_{dtype}_0(p0, i)\n"
    text += f"        store_{dtype}_1(p1, i, {name}_{dtype}({operands}))\n"
    kernel = Kernel(KernelSource(text, 3), machine_for(target))
    body = kernel.text.partition("\nvector.body")[2].partition("\n\n")[0]
    pieces = [piece.count("@llvm.fma.") for piece in body.split("@llvm.fake.use(")]
    total = sum(pieces)
    is_divided = target == "avx2" and (name, dtype) != ("pow", "f32")
    assert total
    assert pieces == ([16] * (total // 16) + [total % 16] if is_divided else [total])
    assert "fake" not in kernel.assembly


_EDGES: dict[str, tuple[tuple[float, float], ...]] = {
    **dict.fromkeys(("expm1", "log1p", "tanh", "sinh", "erf", "gelu", "sin", "tan"), ((0, 0), (-0.0, -0.0))),
    **dict.fromkeys(("asin", "atan", "sqrt", "floor", "rint"), ((0, 0), (-0.0, -0.0))),
    "exp": ((0, 1), (-math.inf, 0), (math.inf, math.inf), (1e4, math.inf), (-1e4, 0)),
    "cosh": ((0, 1), (-math.inf, math.inf)),
    "log": ((0, -math.inf), (-0.0, -math.inf), (1, 0), (math.inf, math.inf), (-1, math.nan)),
    "sigmoid": ((0, 0.5), (math.inf, 1), (-math.inf, 0)),
    "normal_cdf": ((0, 0.5), (math.inf, 1), (-math.inf, 0)),
    "softplus": ((0, math.log(2)), (math.inf, math.inf), (-math.inf, 0), (-1e4, 0), (1e4, 1e4)),
    "cos": ((0, 1), (math.inf, math.nan)),
    "acos": ((1, 0), (2, math.nan)),
    "pow": ((0, 0), (1, 1), (-1, math.nan), (math.inf, math.inf), (-math.inf, math.inf)),
    "atan2": ((0, 0), (-0.0, -0.0)),
}
_MORE_EDGES: dict[str, tuple[tuple[float, float], ...]] = {
    "expm1": ((-math.inf, -1), (math.inf, math.inf), (1e4, math.inf)),
    "log1p": ((-1, -math.inf), (-2, math.nan), (math.inf, math.inf)),
    "tanh": ((-math.inf, -1), (math.inf, 1)),
    "sinh": ((-math.inf, -math.inf), (1e4, math.inf)),
    "erf": ((-math.inf, -1), (math.inf, 1)),
    "gelu": ((math.inf, math.inf), (-math.inf, 0)),
    **dict.fromkeys(("sin", "tan"), ((math.inf, math.nan), (-math.inf, math.nan))),
    "asin": ((-2, math.nan),),
    "sqrt": ((-1, math.nan), (math.inf, math.inf)),
    "floor": ((-0.5, -1), (math.inf, math.inf)),
    "rint": ((-0.5, -0.0), (2.5, 2), (-math.inf, -math.inf)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[-1]])
def test_pow_has_the_special_cases_of_ieee_754(target: str, dtype: str) -> None:
    """All pairs of zeros, ones, infinities, NaN, and whole numbers up to those that are all even."""
    kind, digits = FLOATS[dtype], np.finfo(FLOATS[dtype]).nmant
    sizes = [
        0,
        0.3,
        0.5,
        1,
        1.5,
        2,
        2.5,
        3,
        4,
        7,
        2.0**digits - 1,
        2.0**digits + 1,
        2.0 ** (digits + 1),
        2.0 ** (digits + 2) + 4,
    ]
    numbers = np.array([*sizes, 1e30, np.finfo(kind).max, math.inf, math.nan], kind)
    x, y = (np.ascontiguousarray(part.ravel()) for part in np.meshgrid(*[np.concatenate([numbers, -numbers])] * 2))
    loads = ", ".join(f"load_{dtype}_{i}(p{i}, i0)" for i in (1, 2))
    text = "def kernel(p0, p1, p2, n0):\n    for i0 in range(n0):\n"
    text += f"        store_{dtype}_0(p0, i0, pow_{dtype}({loads}))\n"
    result = np.empty_like(x)
    kernel = Kernel(KernelSource(text, 4), machine_for(target))
    kernel.call(result.ctypes.data, x.ctypes.data, y.ctypes.data, x.size)
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    rounding, flushed = float(2 * np.finfo(kind).eps), float(np.finfo(kind).tiny)  # subnormal numbers may be 0
    np.testing.assert_allclose(result, expected, rtol=rounding, atol=flushed)
    is_number = ~np.isnan(expected)
    assert np.array_equal(np.signbit(result)[is_number], np.signbit(expected)[is_number])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[-1]])
def test_the_edges_of_functions(target: str, dtype: str) -> None:
    """Zeros with their signs, infinities, and operands outside of the domain."""
    names, kernel = functions_kernel(target, dtype)
    pairs = [(*_EDGES[name], *_MORE_EDGES.get(name, ())) for name in names]
    width = max(map(len, pairs))
    x = np.array([[pair[0] for pair in row] + [0.5] * (width - len(row)) for row in pairs], FLOATS[dtype])
    result = np.full(x.shape, np.nan, FLOATS[dtype])
    kernel.call(x.ctypes.data, result.ctypes.data, width)
    for name, row, computed in zip(names, pairs, result, strict=True):
        expected = np.array([pair[1] for pair in row], FLOATS[dtype])
        results = computed[: len(row)]
        np.testing.assert_array_equal(results, expected, err_msg=name)
        is_number = ~np.isnan(expected) & (name != "gelu")
        assert np.array_equal(np.signbit(results)[is_number], np.signbit(expected)[is_number]), name


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


def test_the_processor_from_the_cache_is_the_one_that_llvm_describes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    asked = processor.asked_of_llvm()
    assert dict(asked.sets) == dict(llvm.get_host_cpu_features())
    assert processor.processor.__wrapped__() == asked
    monkeypatch.setattr(processor, "asked_of_llvm", lambda: processor.Processor("other", "+sse2"))
    assert processor.processor.__wrapped__() == asked
    monkeypatch.setattr(processor, "facts_of_linux", lambda: ["model name: other"])
    assert processor.processor.__wrapped__().cpu == "other"
    for path in (tmp_path / "cache").glob("processor-*"):
        path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(processor, "asked_of_llvm", lambda: asked)
    assert processor.processor.__wrapped__() == asked, "damage is a miss"


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


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_beside_multiples_of_a_quarter_turn(name: str, target: str) -> None:
    """The reduced angle is a small difference there, of which every digit must be right."""
    angles = [(np.arange(1, 600) * (np.pi / 2)).astype(np.float32)]
    for _ in range(4):
        angles = [angles[0], *(np.nextafter(angle, np.float32(end)) for angle in angles for end in (0, np.inf))]
    x = np.unique(np.concatenate(angles))
    exact = REFERENCES[name](x.astype(np.float64))
    units = np.exp2(np.floor(np.log2(np.abs(exact))) - 23)
    assert (np.abs(computed_by_kernel(name, "f32", target, x) - exact) / units).max() <= 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_angles_of_points_at_edges(target: str, dtype: str) -> None:
    """Zeros of both signs, infinities and NaN in either coordinate."""
    edges = np.array([0, -0.0, 1, -1, 3, np.inf, -np.inf, np.nan], FLOATS[dtype])
    y, x = (np.ascontiguousarray(grid.ravel()) for grid in np.meshgrid(edges, edges))
    expected, result = np.arctan2(y, x), computed_by_kernel("atan2", dtype, target, y, x)
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(FLOATS[dtype]).eps)
    assert (np.signbit(result) == np.signbit(expected))[~np.isnan(expected)].all()


def test_loops_gather_elements_where_that_is_fast() -> None:
    """It is slow on AMD's CPUs, and on Intel's from Skylake to Rocket Lake, whose microcode hides what gathers leave
    behind. LLVM's own choice is to gather on all of these but AMD's with AVX2."""
    text = "def kernel(p0, p1, n0):\n    for i in range(n0):\n        store_f32_1(p1, i, load_f32_0(p0, i * 3))\n"
    wide, narrow = (replace(machine_for(name), features="") for name in ("avx512", "avx2"))
    for machine, slow, fast in (
        (wide, ("cascadelake", "icelake-server", "znver4"), ("sapphirerapids", "x86-64-v4")),
        (narrow, ("skylake", "znver3"), ()),
    ):
        for cpu in slow + fast:
            module, _ = kernel_module(KernelSource(text, 3), replace(machine, cpu=cpu))
            assert ("llvm.masked.gather" in str(module)) == (cpu in fast), cpu
    assert replace(wide, cpu="znver4").llvm_features == "-prefer-256-bit,+prefer-no-gather"
    assert wide.llvm_features == "-prefer-256-bit"
    assert narrow.llvm_features == ""


def test_the_key_of_a_kernel_contains_exactly_what_decides_its_code() -> None:
    machine, source = machine_for("host"), source_of(Contraction("f32"))
    decides = {"cpu": "x", "features": "x", "vector_bytes": 128, "has_fma": not machine.has_fma, "registers": 8}
    for name in Machine.__struct_fields__:
        value = decides.get(name, 7)
        is_same = parts_of(source, replace(machine, **{name: value})).name == parts_of(source, machine).name
        assert is_same == (name not in decides), name
