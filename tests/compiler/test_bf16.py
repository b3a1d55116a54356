"""`precision = bf16`: the rounding itself, what is rounded in a model's programs, and the same bits on all threads."""

import ml_dtypes
import numpy as np
import pytest
from native import TARGETS, Kernel
from support import run

import netc
from netc.compiler import pipeline
from netc.compiler.evaluation import evaluation_graphs
from netc.compiler.ir.bf16 import as_bf16
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Part, Scan
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.named import NAMED, machine_for
from netc.runtime.data.stored import Ragged

_TINY = np.finfo(np.float32).tiny
NET = """model {
  input x: float[6, 6, 2]
  input s: float[time, 3]
  target y: class(3)
  image = x -> conv(4) -> batchnorm -> relu -> maxpool(2) -> flatten
  spoken = s -> lstm(5)
  z = concat(image, last(spoken)) -> dense(16) -> gelu -> dense(3)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
train {
  precision = bf16
  batch = 8
}
"""


def numbers() -> np.ndarray:
    """Every upper half of an f32, with the lower halves around which the rounding changes."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (upper[:, None] | lower).ravel().view(np.float32)


def test_the_rounding_is_that_of_ml_dtypes() -> None:
    x = numbers()
    with np.errstate(invalid="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    expected = np.where(np.abs(x) < _TINY, np.copysign(0, x), expected)  # subnormal numbers are zeros
    actual = as_bf16(x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected) & ~np.isnan(x) | np.signbit(x) & np.isnan(x))
    assert actual.dtype == np.float32
    assert as_bf16(np.float64(1.00390625)) == 1  # halfway between 1 and 1.0078125, in f64


@pytest.mark.parametrize("target", TARGETS)
def test_the_kernel_rounds_to_the_same_bits(target: str) -> None:
    """A loop of vectors, for every instruction set that this machine can run."""
    kernel = Kernel(loop_of("f32"), machine_for(target))
    assert "\nvector.body" in kernel.text
    x, actual = numbers(), np.empty_like(numbers())
    kernel.call(x.ctypes.data, actual.ctypes.data, x.size)
    np.testing.assert_array_equal(actual.view(np.uint32), as_bf16(x).view(np.uint32))
    few = np.ascontiguousarray(x[:: x.size // 5][:5])  # without a whole vector
    kernel.call(few.ctypes.data, actual.ctypes.data, few.size)
    np.testing.assert_array_equal(actual[: few.size].view(np.uint32), as_bf16(few).view(np.uint32))


def loop_of(dtype: str) -> KernelSource:
    line = f"store_{dtype}_1(p1, i0, as_bf16_{dtype}(load_{dtype}_0(p0, i0)))"
    return KernelSource(f"def kernel(p0, p1, n0):\n    for i0 in range(n0):\n        {line}\n", 3)


@pytest.mark.parametrize("name", ["avx512bf16", "amx"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_the_instruction_rounds_whole_vectors(name: str, dtype: str) -> None:
    """Where a CPU has an instruction that rounds, loops of f32 use all of its lanes."""
    kernel = Kernel(loop_of(dtype), NAMED[name])
    lanes = NAMED[name].lanes(dtype)
    assert f"fptrunc <{lanes} x float> %" in kernel.text
    assert f" to <{lanes} x bfloat>" in kernel.text
    assert "netc_as_bf16" not in kernel.text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("row", [17, 18, 20, 31])
def test_named_vectors_round_to_the_same_bits(target: str, row: int) -> None:
    """Rows whose text names vectors (vector_rows.py): the last ones are vectors of 1 to 16 lanes."""
    line = f"store_f32r{row}_1(p1, i0 * {row}, as_bf16_f32(load_f32r{row}_0(p0, i0 * {row})))"
    kernel = Kernel(
        KernelSource(f"def kernel(p0, p1, n0):\n    for i0 in range(n0):\n        {line}\n", 3), machine_for(target)
    )
    x = numbers()[: row * 3001]
    actual, count = np.zeros_like(x), row % machine_for(target).lanes("f32")
    kernel.call(x.ctypes.data, actual.ctypes.data, 3001)
    expected = np.zeros_like(x).reshape(-1, row)
    expected[:, :count] = as_bf16(x).reshape(-1, row)[:, :count]
    np.testing.assert_array_equal(actual.view(np.uint32), expected.ravel().view(np.uint32))


def products(graph: Graph) -> list[tuple[str, ...]]:
    """The operations of the operands of all products, those in the bodies of scans too."""
    operands = []
    for value in graph.values():
        if value.role is Role.SCAN:
            operands += products(Scan.of(value).body)
        elif value.role is Role.CONTRACTION or value.operation.startswith("conv2d"):
            operands.append(tuple(map(operation_of, value.operands)))
    return operands


def operation_of(value: Value) -> str:
    """The operation of a value; that in the body of its scan if it stands for the rows of one."""
    if value.role is not Role.PART:
        return value.operation
    results, part = Scan.of(value.operands[0]).body.results, value.attributes_as(Part).result
    return results[part].operation if part in results else value.operation


def test_every_program_of_a_model_rounds_the_operands_of_its_products() -> None:
    model = netc.parse(NET.replace("batch = 8", "batch = 8\n  accumulate = 2"))
    for graph in (
        *(pipeline.gradient_graph(model), pipeline.training_graph(model), pipeline.accumulation_graph(model)),
        *(pipeline.prediction_graph(model), pipeline.part_graph(model, ["z"]), evaluation_graphs(model).batches),
    ):
        operands = products(graph)
        assert len(operands) >= 5
        assert {name for names in operands for name in names} <= {"as_bf16", "slice", "window"}, operands
    updated = pipeline.training_stages(model)["update"]
    assert not any("as_bf16" in names for names in products(updated))


def test_only_products_are_rounded() -> None:
    """Sums, means, losses and normalisations are those of the same model in f32; a running sum too."""
    text = """model {
  input x: float[7]
  output total = sum(x)
  output running = cumsum(x)
  output even = x -> layernorm
  output chosen = einsum(one_hot(argmax(x), 7), x, "i,j->ij")
}
train { precision = PRECISION }
"""
    x = {"x": np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)}
    narrow, wide = (run(text.replace("PRECISION", name), "reference").predict(x) for name in ("bf16", "f32"))
    for name, array in wide.items():
        np.testing.assert_array_equal(narrow[name], array, err_msg=name)


def test_a_prediction_reads_rounded_operands_as_training_does() -> None:
    text = "model {\n  input x: float[4]\n  output y = x -> dense(3)\n}\ntrain { precision = bf16 }\n"
    program = run(text, "reference")
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    weights, bias = program.parameters["y.dense.W"], program.parameters["y.dense.b"]
    x16, weights16 = (array.astype(ml_dtypes.bfloat16).astype(np.float64) for array in (x, weights))
    expected = x16 @ weights16 + bias
    np.testing.assert_allclose(program.predict({"x": x})["y"], expected, rtol=1e-6, atol=1e-6)
    assert np.abs(x @ weights + bias - expected).max() > 1e-4


@pytest.fixture(scope="module")
def fields() -> dict:
    rng = np.random.default_rng(1)
    return {
        "x": rng.standard_normal((20, 6, 6, 2)).astype(np.float32),
        "s": Ragged.of([rng.standard_normal((n, 3)) for n in rng.integers(1, 7, 20)], np.dtype(np.float32)),
        "y": rng.integers(0, 3, 20).astype(np.int32),
    }


def test_the_same_bits_on_two_threads(fields: dict) -> None:
    results = []
    for count in (1, 2):
        program = netc.Program(netc.parse(NET), threads=count)
        program.workers.shares_small_steps = True
        losses = [program.steps(fields, np.random.default_rng(e).permutation(20), e).values["loss"] for e in range(2)]
        results.append([*losses, *program.persistent.values(), program.predict(fields)["p"]])
    assert all(np.array_equal(first, other) for first, other in zip(*results, strict=True))
