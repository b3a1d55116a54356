"""A second target behind the same door as machine code: it counts the arithmetic and the memory traffic of a plan.

Nothing else of netc knows it. Its counts for a dense layer and its gradient are compared with numbers computed by hand.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np
import pytest

import netc
from netc.compiler.ir.types import BATCH, DTYPES
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.nests import Access, Nest
from netc.compiler.program.product import WALKS, Loop, Product
from netc.compiler.program.scalars import Binary, Unary, Word
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Task
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import NAMED
from netc.compiler.targets.target import Call, Executable, Interface, Planned, Request, Target, Workspace

LOOPS = [item.name for item in fields(Product) if item.name in {name for walk in WALKS.values() for name in walk}]


@dataclass
class Counting:
    """A target that computes nothing: it adds up the FLOPs and the bytes that are read and written in `counts`."""

    machine: Machine = NAMED["avx2"]
    counts: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    name = "counting"

    def build(self, request: Request) -> "Counter":
        return Counter(request.make_plan(False), self.counts)


class Counter:
    def __init__(self, planned: Planned, counts: np.ndarray) -> None:
        self.plan, self.counts = planned.plan, counts
        self.interface = Interface.of_plan(self.plan)

    def run(self, call: Call, workspace: Workspace) -> None:
        for task in self.plan.tasks:
            self.counts += call.steps * np.array(counts_of(task, call.batch))
        for result in call.results.values():
            result[...] = 0


def counts_of(task: Task, batch: int) -> tuple[int, int, int]:
    """The FLOPs of a task for a batch, and the bytes that it reads and writes, each element counted once."""
    sizes = {"one": 1, "rows": batch if isinstance(task.axis, str) else task.axis or 1, BATCH: batch}
    numbers = [count.factor * sizes[count.per] for count in task.counts]
    match task.kernel:
        case Contraction(dtype):
            product = Product.of(task.pointers, numbers, int)
            read = ["a", "b", "start"] if product.has_start else ["a", "b"]
            elements = {name: walked(*product.walk(name)) for name in (*read, "c")}
            counts = [getattr(product, name).count for name in LOOPS]
            size = DTYPES[dtype].bytes
            return 2 * math.prod(counts), size * sum(elements[name] for name in read), size * elements["c"]
        case Nest(extents, lines, outputs):
            arguments = iter(numbers)
            space = [next(arguments) if extent is None else extent for extent in extents]
            loads = [line.value for line in lines if isinstance(line.value, Access) and line.value.pointer is not None]
            operations = sum(1 for line in lines for _ in arithmetic(line.value))
            operations += sum(1 for output in outputs if output.fold is not None for _ in arithmetic(output.fold.combine))
            read, written = (
                sum(DTYPES[access.dtype].bytes * walked(space, access.strides) for access in accesses)
                for accesses in (loads, [output.target for output in outputs])
            )
            return operations * math.prod(space), read, written
    raise AssertionError(f"not counted: {task.kernel}")


def walked(counts: list[int], strides: object) -> int:
    """The elements of an operand that does not move in loops whose stride is 0."""
    return math.prod(count for count, stride in zip(counts, strides, strict=True) if stride)


def arithmetic(tree: object) -> Iterator[object]:
    """The operations of a scalar expression."""
    if isinstance(tree, Unary | Binary | Word):
        yield tree
    children = [getattr(tree, item.name) for item in fields(tree)] if is_dataclass(tree) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            yield from arithmetic(part)
