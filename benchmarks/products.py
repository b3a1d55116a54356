"""The product kernel alone, over a grid of shapes and of the ways in which operands lie: its share of the peak.

One thread. The kernel itself repeats each product, so that no call from Python is measured. The best of many short
runs counts, by the processor time of the thread, so other work on the machine matters little.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from netc.compiler.ir.bf16 import as_bf16, to_bits
from netc.compiler.program import prefetched
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import BATCHES, DEPTHS, TOUCHED, Loop, Product
from netc.compiler.targets.cpu.bounds.measured import dtypes_of
from netc.compiler.targets.cpu.bounds.peak import PeakLoop
from netc.compiler.targets.cpu.compile import (
    compile_kernel,
    native_call,
    parts_of,
    start_llvm,
    symbol_of,
    target_machine,
)
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import LINE, Machine
from netc.compiler.targets.named import machine_for

_SECONDS = 2e-4  # of one run: much shorter than what the system gives a process at a time
_TURNS = 20_000  # of the loop that measures the peak: about as long
_RUNS = 20  # for each round
_MARGIN = 1024  # elements behind each operand, which tiles may read
_REPEATS = 2000  # of a product in one run, at most


@dataclass(frozen=True, slots=True)
class Operands:
    """A product of m x k by k x n as it occurs in a model: its name, and how far apart elements lie.

    `a` are the strides of rows and depth, `b` those of depth and columns. `batch` products of equal shape follow one
    another; their operands lie `batches` apart.
    """

    name: str
    m: int
    k: int
    n: int
    a: tuple[int, int]
    b: tuple[int, int]
    batch: int = 1
    batches: tuple[int, int] = (0, 0)

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n * self.batch


def shapes() -> Iterator[Operands]:
    """Yields the grid: dense layers with their gradients, attention, narrow results, and cubes."""
    for rows, inputs, outputs in (
        *((128, 784, 512), (128, 512, 512), (64, 784, 128), (64, 128, 784), (32, 1024, 1024), (1600, 288, 64)),
        *((64, 64, 64), (128, 512, 10), (60, 96, 384)),
    ):
        yield forward(rows, inputs, outputs)
    for rows, inputs, outputs in ((128, 512, 512), (128, 512, 10), (64, 128, 784), (64, 64, 64), (1600, 288, 64)):
        yield Operands("g @ W^T", rows, outputs, inputs, (outputs, 1), (1, outputs))
    for rows, inputs, outputs in (
        *((128, 784, 512), (128, 512, 512), (64, 784, 128), (64, 128, 784), (128, 512, 10), (1600, 288, 64)),
        *((64, 64, 64), (1024, 1024, 1024)),
    ):
        yield Operands("x^T @ g", inputs, rows, outputs, (1, inputs), (outputs, 1))
        if inputs > 60:  # the rows that a worker takes at once, with the optimizer behind them
            yield Operands("x^T @ g", 60, rows, outputs, (1, inputs), (outputs, 1))
    for steps, width, heads in ((64, 16, 4), (64, 32, 4), (64, 64, 6), (256, 64, 6)):
        row = 3 * heads * width
        yield Operands("q @ k^T", steps, width, steps, (row, 1), (1, row), heads, (width, width))
        yield Operands("p @ v", steps, steps, width, (steps, 1), (row, 1), heads, (steps * steps, width))
    for columns in (1, 2, 4, 8, 16, 24, 32, 48):
        yield forward(128, 128, columns)
    for rows, depth, columns in ((16, 64, 16), (1, 512, 512), (4, 512, 512), (14, 256, 64), (30, 256, 64)):
        yield forward(rows, depth, columns)
    for size in (8, 16, 32, 48, 96, 128, 256, 512):
        yield forward(size, size, size)


def forward(rows: int, inputs: int, outputs: int) -> Operands:
    """The product of contiguous matrices."""
    return Operands("a @ W", rows, inputs, outputs, (inputs, 1), (outputs, 1))


class Kernel:
    """The product kernel of a type of bounds in machine code: "bf16" multiplies pairs of such numbers, "bf16 in tiles"
    does so in tiles of AMX."""

    def __init__(self, dtype: str, machine: Machine) -> None:
        self.has_pairs = dtype.startswith("bf16")
        result = "f32" if self.has_pairs else dtype
        self.dtype, self.machine = np.dtype("float32" if result == "f32" else "float64"), machine
        source = source_of(Contraction(result, self.has_pairs, dtype == "bf16 in tiles"))
        start_llvm()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(machine))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(compile_kernel(source, machine).code))
        self._engine.finalize_object()
        address = self._engine.get_function_address(symbol_of(parts_of(source, machine)))
        self.call = native_call(source, address)
        self.pack = np.zeros(machine.pack_elements(result), self.dtype)

    def rate(self, operands: Operands, rounds: int) -> float:
        """FLOP/s of a product, from the best of many runs."""
        a, b = (self.memory(operands, which) for which in ("a", "b"))
        c = np.zeros(operands.batch * operands.m * operands.n + _MARGIN, self.dtype)
        repeats, best = 1, float("inf")
        for _ in range(_RUNS * rounds):
            words = _arguments(operands, a, b, c, self.pack, repeats)
            best = min(best, _seconds(lambda words=words: self.call(*words)) / repeats)  # type: ignore[misc]
            repeats = min(max(1, round(_SECONDS / best)), _REPEATS)
        return operands.flops / best

    def multiply(self, operands: Operands, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The product [batch, m, n] of two arrays of `memory`."""
        c = np.zeros(operands.batch * operands.m * operands.n + _MARGIN, self.dtype)
        self.call(*_arguments(operands, a, b, c, self.pack, 1))
        return c[:-_MARGIN].reshape(operands.batch, operands.m, operands.n)

    def memory(self, operands: Operands, which: str) -> np.ndarray:
        """Random numbers for one operand."""
        strides = operands.a if which == "a" else operands.b
        extents = (operands.m, operands.k) if which == "a" else (operands.k, operands.n)
        apart = operands.batches[0 if which == "a" else 1] * (operands.batch - 1)
        apart += 0 if which == "a" else _REPEATS * LINE // (2 if self.has_pairs else self.dtype.itemsize)
        size = apart + sum((extent - 1) * stride for extent, stride in zip(extents, strides, strict=True)) + 1
        numbers = np.random.default_rng(0).random(size + _MARGIN, np.float32)
        return to_bits(as_bf16(numbers)) if self.has_pairs else numbers.astype(self.dtype)


def _seconds(run: Callable[[], object]) -> float:
    """The processor time of a call on this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _peak(dtype: str, machine: Machine, rounds: int) -> float:
    """FLOP/s of multiply-adds on registers, measured as the products are."""
    loop = PeakLoop(dtype, machine, _TURNS)
    return loop.flops / min(_seconds(loop.run) for _ in range(100 * _RUNS * rounds))


def _arguments(
    operands: Operands, a: np.ndarray, b: np.ndarray, c: np.ndarray, pack: np.ndarray, repeats: int
) -> tuple[int, ...]:
    """The kernel's arguments; its outermost loop repeats the product in place.

    b moves on by a cache line each time, or else the kernel would copy it once for all repetitions.
    """
    once = Loop(1, 0, 0, 0, 0)
    loops = dict.fromkeys((*BATCHES, *DEPTHS), once)
    loops["outer"] = Loop(repeats, 0, LINE // b.itemsize, 0, 0)
    loops["inner"] = Loop(operands.batch, *operands.batches, operands.m * operands.n, 0)
    loops["depth"] = Loop(operands.k, operands.a[1], operands.b[0], 0, 0)
    loops["rows"] = Loop(operands.m, operands.a[0], 0, operands.n, 0)
    loops["columns"] = Loop(operands.n, 0, operands.b[1], 1, 1)
    at = c.ctypes.data
    product = Product[int, int](
        a=a.ctypes.data,
        b=b.ctypes.data,
        c=at,
        start=at,
        pack=pack.ctypes.data,
        touched=(at,) * TOUCHED,
        order=at,
        prefetched=(at,) * prefetched.MOST,
        prefetched_bytes=(0,) * prefetched.MOST,
        has_start=0,
        touches=0,
        **loops,
    )
    return (*product.pointers, *product.numbers)


def table(rounds: int) -> list[list[str]]:
    """One row for each product: GFLOP/s and the share of the peak, in f32, in f64, and in bf16 if it has pairs or
    tiles."""
    machine = machine_for()
    kernels = {dtype: Kernel(dtype, machine) for dtype in dtypes_of(machine)}
    peaks = {dtype: _peak(dtype, machine, rounds) for dtype in kernels}
    heads = [f"{dtype}, of {peak / 1e9:.0f} GFLOP/s" for dtype, peak in peaks.items()]
    lines = [["product, one thread", "m x k x n", *heads]]
    for operands in shapes():
        rates = {dtype: kernel.rate(operands, rounds) for dtype, kernel in kernels.items()}
        times = f"{operands.batch} x " if operands.batch > 1 else ""
        lines.append(
            [
                operands.name,
                f"{times}{operands.m} x {operands.k} x {operands.n}",
                *(f"{rate / 1e9:.0f} {rate / peaks[dtype]:.0%}" for dtype, rate in rates.items()),
            ]
        )
    return lines
