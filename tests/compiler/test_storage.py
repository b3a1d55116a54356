"""Values that are kept in 16 bits: which they are, exact loops over them, and the same bits without the instruction."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from native import TARGETS, Kernel

import netc
from netc.compiler import pipeline
from netc.compiler.ir.bf16 import as_bf16, from_bits, to_bits
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import AttentionKernel, Contraction
from netc.compiler.program.product import POINTERS
from netc.compiler.program.tasks import Tasks
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import NAMED, machine_for
from netc.dsl.structs import replace

PAIRS = NAMED["avx512bf16"]
NET = """model {
  input x: float[8, 8, 3]
  input s: float[time, 3]
  target y: float[2]
  image = x -> conv(4) -> relu -> maxpool(2) -> conv(5) -> flatten
  spoken = s -> lstm(6)
  z = concat(image, last(spoken)) -> dense(16) -> tanh -> dense(2)
  output even = z
  loss mse(z, y)
}
train {
  precision = bf16
  batch = 8
}
"""


def tasks_of(text: str, machine: Machine = PAIRS) -> Tasks:
    """The tasks of a training step."""
    return lower(pipeline.run_passes(pipeline.training_graph(netc.parse(text))), {"batch": 8, "time": 40}, machine)


def test_all_operands_of_products_are_kept_in_16_bits() -> None:
    """Padded images, windows of them, weights that a scan reads and rows that it yields too."""
    tasks = tasks_of(NET)
    products = [task for task in tasks.tasks if isinstance(task.kernel, Contraction)]
    assert len(products) >= 12
    assert any(task.walk is not None for task in products)
    for task in products:
        assert task.kernel == Contraction("f32", of_pairs=True)
        types = [task.pointers[POINTERS.index(name)].buffer.type.dtype for name in ("a", "b", "c", "start", "pack")]
        assert types == ["bf16", "bf16", "f32", "f32", "f32"]
    for buffer in (*tasks.leaves.values(), *tasks.results.values()):
        assert buffer.type.dtype != "bf16", buffer


@pytest.mark.parametrize(("channels", "products"), [(1, 1), (3, 2)])
def test_small_windows_are_sums_in_loops(channels: int, products: int) -> None:
    """Of 9 elements: their gradient is a product all the same, and windows of 27 elements are. Loops read 16 bits."""
    text = f"""model {{
  input x: float[4, 4, {channels}]
  target y: float[4, 4, 32]
  output z = x -> conv(32)
  loss mse(z, y)
}}
train {{
  precision = bf16
  optimizer = sgd(lr = 0.5)
  batch = 8
}}
"""
    assert sum(isinstance(task.kernel, Contraction) for task in tasks_of(text).tasks) == products
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((8, 4, 4, channels), np.float32), "y": rng.random((8, 4, 4, 32), np.float32)}
    emulated = netc.Program(netc.parse(text), backend="plan", machine=PAIRS)
    expected = netc.Program(netc.parse(text), backend="reference")
    for program in (emulated, expected):
        program.steps(fields, np.arange(8), 0)
    for name, array in expected.parameters.items():
        np.testing.assert_allclose(emulated.parameters[name], array, rtol=1e-5, atol=1e-6)


def test_memory_is_of_f32_without_pairs() -> None:
    for text, machine in ((NET, NAMED["avx512"]), (NET.replace("bf16", "f32"), PAIRS)):
        for task in tasks_of(text, machine).tasks:
            assert all(pointer.buffer.type.dtype != "bf16" for pointer in task.pointers)


def test_attention_reads_f32() -> None:
    text = """model {
  input x: float[64, 16]
  target y: float[2]
  z = x -> self_attention(heads = 2) -> flatten -> dense(2)
  loss mse(z, y)
}
train { precision = bf16 }
"""
    tasks = tasks_of(text).tasks
    attention = [task for task in tasks if isinstance(task.kernel, AttentionKernel)]
    assert attention
    for task in attention:
        assert all(pointer.buffer.type.dtype != "bf16" for pointer in task.pointers)
    assert all(task.kernel.of_pairs for task in tasks if isinstance(task.kernel, Contraction))


def test_bits() -> None:
    x = as_bf16(np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32))
    np.testing.assert_array_equal(to_bits(x), x.astype(ml_dtypes.bfloat16).view(np.uint16))
    np.testing.assert_array_equal(from_bits(to_bits(x)), x)
    assert from_bits(to_bits(np.float32(1.5))) == 1.5


@pytest.mark.parametrize("target", TARGETS)
def test_loops_read_and_write_16_bits(target: str) -> None:
    lines = "t = as_bf16_f32(load_bf16_0(p0, i0) * F32(3.0))\n        store_bf16_1(p1, i0, t)"
    kernel = Kernel(KernelSource(f"def kernel(p0, p1, n0):\n    for i0 in range(n0):\n        {lines}\n", 3),
                    machine_for(target))  # fmt: skip
    assert "\nvector.body" in kernel.text
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[np.abs(from_bits(bits)) >= np.finfo(np.float32).tiny]
    actual = np.empty_like(bits)
    kernel.call(bits.ctypes.data, actual.ctypes.data, bits.size)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(actual, to_bits(as_bf16(from_bits(bits) * np.float32(3))))


def fields(scale: float) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "x": np.float32(rng.standard_normal((8, 8, 8, 3)) * scale),
        "s": [np.float32(rng.standard_normal((n, 3))) for n in rng.integers(1, 6, 8)],
        "y": np.float32(rng.standard_normal((8, 2))),
    }


@pytest.mark.skipif("avx512bf16" not in TARGETS, reason="this machine has no instruction for pairs")
@pytest.mark.parametrize("scale", [1, 1e-37])
def test_the_instruction_for_pairs_has_the_bits_of_two_multiply_adds(scale: float) -> None:
    """Sums that round, and products that are subnormal, which count as zero."""
    results = []
    for machine in (PAIRS, replace(NAMED["avx512"], has_pairs=True)):
        program = netc.Program(netc.parse(NET), machine=machine, threads=1)
        loss, gradients = program.gradients(fields(scale))
        results.append([np.float32(loss), *gradients.values()])
    for native, emulated in zip(*results, strict=True):
        np.testing.assert_array_equal(native, emulated)


def test_the_emulated_plan_reads_16_bits() -> None:
    """Every access to memory is checked; the numbers are those of machine code up to the order of sums."""
    programs = [netc.Program(netc.parse(NET), machine=PAIRS, backend=name, threads=2) for name in ("plan", "cpu")]
    if "avx512bf16" not in TARGETS:
        programs.pop()
    programs.append(netc.Program(netc.parse(NET), backend="reference"))
    losses = [program.gradients(fields(1))[0] for program in programs]
    np.testing.assert_allclose(losses, losses[-1], rtol=1e-3)
