"""A second target behind the same interface as machine code: it counts the arithmetic and the memory traffic of a plan.

Nothing else of netc knows it. Its counts for a dense layer and its gradient are compared with numbers computed by hand.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import astuple

import netc
from netc.compiler.ir.types import BATCH, DTYPES
from netc.compiler.program.kernels import Contraction, StoredCount
from netc.compiler.program.nests import Access, Nest
from netc.compiler.program.product import WALKS, Product
from netc.compiler.program.scalars import Binary, FunctionCall, Unary
from netc.compiler.program.tasks import Task
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import NAMED
from netc.compiler.targets.target import Call, Interface, Planned, Request, Workspace

LOOPS = [name for name in Product.__struct_fields__ if name in {name for walk in WALKS.values() for name in walk}]


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
        self.interface = Interface.of_layout(self.plan.call_layout)

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
            order = 4 * getattr(product, task.kernel.gathered_loop).count if task.kernel.gathered else 0
            return 2 * math.prod(counts), size * sum(elements[name] for name in read) + order, size * elements["c"]
        case Nest(extents, lines, outputs):
            arguments = iter(numbers)
            space = [next(arguments) if extent is None else extent for extent in extents]
            loads = [line.value for line in lines if isinstance(line.value, Access) and line.value.pointer is not None]
            operations = sum(1 for line in lines for _ in arithmetic(line.value))
            operations += sum(
                1 for output in outputs if output.fold is not None for _ in arithmetic(output.fold.combine)
            )
            read, written = (
                sum(DTYPES[access.dtype].bytes * elements_of(access, space) for access in accesses)
                for accesses in (loads, [output.target for output in outputs])
            )
            return operations * math.prod(space), read, written
        case StoredCount(dtype):
            return 0, 0, DTYPES[dtype].bytes
    raise AssertionError(f"not counted: {task.kernel}")


def elements_of(access: Access, space: Sequence[int]) -> int:
    """The elements that an access reads or writes; one whose index is loaded reads one at each point."""
    return math.prod(space) if access.indirect is not None else walked(space, access.strides)


def walked(counts: Sequence[int], strides: Sequence[int]) -> int:
    """The elements of an operand that does not move in loops whose stride is 0."""
    return math.prod(count for count, stride in zip(counts, strides, strict=True) if stride)


def arithmetic(tree: object) -> Iterator[object]:
    """The operations of a scalar expression."""
    if isinstance(tree, Unary | Binary | FunctionCall):
        yield tree
    children = list(astuple(tree)) if isinstance(tree, Struct) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            yield from arithmetic(part)


DENSE = """model {
  input x: float[20]
  target y: float[16]
  output z = x -> dense(16)
  loss mse(z, y)
}
train { optimizer = sgd(lr = 0.1)
  batch = 8 }
"""
X, W, Z, BIAS, NUMBER = 20 * 4, 20 * 16 * 4, 16 * 4, 16 * 4, 4  # bytes; X, Z and the number are those of a sample


@pytest.fixture
def target() -> Counting:
    return Counting()


def test_a_dense_layer(target: Counting) -> None:
    """Samples are found by their numbers and multiplied by the weights of a step; the bias is added on the way."""
    program = netc.Program(netc.parse(DENSE), backend=target, threads=1)
    z = program.predict({"x": np.ones((19, 20), np.float32)})["z"]
    assert z.shape == (19, 16)
    assert not z.any(), "nothing is computed"
    steps = 3  # of 8, 8 and 3 samples
    flops = 2 * 19 * 20 * 16
    read = 19 * (NUMBER + X) + steps * (W + BIAS)
    assert target.counts.tolist() == [flops, read, 19 * Z]


def test_the_products_of_a_training_step(target: Counting) -> None:
    """The layer, and the gradient of its weights: the same number of FLOPs, and the weights are written in the end."""
    program = netc.Program(netc.parse(DENSE), backend=target, threads=1)
    plan = program.training({}).plan
    products = [counts_of(task, 8) for task in plan.tasks if isinstance(task.kernel, Contraction)]
    flops = 2 * 8 * 20 * 16
    rows = 8 * (NUMBER + X)
    assert products == [(flops, rows + W + BIAS, 8 * Z), (flops, rows + 8 * Z, W)]
    program.step({"x": np.ones((8, 20), np.float32), "y": np.ones((8, 16), np.float32)})
    assert target.counts.tolist() == np.sum([counts_of(task, 8) for task in plan.tasks], axis=0).tolist()


def test_the_door_takes_a_target_or_a_name(target: Counting) -> None:
    model = netc.parse(DENSE)
    program = netc.compile(model, backend=target)
    assert (program.backend, program.machine) == ("counting", NAMED["avx2"])
    with pytest.raises(ValueError, match="the target `counting` has a machine of its own"):
        netc.compile(model, backend=target, machine="avx2")
    with pytest.raises(ValueError, match="no backend is called `fpga`: there are cpu, reference, plan"):
        netc.compile(model, backend="fpga")
