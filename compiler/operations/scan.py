"""`scan`: a body that runs once a step, over rows of sequences, with values that it carries from each step to the next.

One value through every pass. Its operands are sequences (a row for each step of each sample), what the carries begin with, and what the body uses of
outside; its results are `part`s: what the body yields, stacked as rows, and what a carry is in the end. The body is a graph whose batch are the samples
that still run: leaves `x0`, `c0`, `k0`, ... for the three kinds of operands, results `next.0` for each carry and `yield.NAME`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import table
from netc.compiler.ir.types import BATCH, Sizes, Type, parse_type, size_of
from netc.compiler.ir.value import Builder, Kernel, Operation, Value, View, apply, register

Array = np.ndarray[Any, Any]
LEAVES = ("x", "c", "k")


@dataclass(frozen=True, slots=True)
class ScanAttributes(Attributes):
    """`counts` says how many operands are sequences, and how many begin a carry; the others are captured. `carries` are what the file calls the carries, and
    `whole` is set if the scan computes again what another did not keep."""

    body: Body
    dim: str
    reverse: bool
    counts: tuple[int, int]
    carries: tuple[str, ...] | None = None
    whole: bool | None = None


@dataclass(frozen=True, slots=True)
class Part(Attributes):
    """A result of a scan, and its type as text: a scan may have results of several types."""

    of: str
    type: str


@dataclass(frozen=True, slots=True)
class Room(Attributes):
    """The number of steps that there is room for."""

    size: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan value, taken apart."""

    value: Value
    body: Graph
    dim: str
    is_reversed: bool
    sequences: tuple[Value, ...]
    begins: tuple[Value, ...]
    captured: tuple[Value, ...]

    @classmethod
    def of(cls, value: Value) -> "Scan":
        own = value.attributes_as(ScanAttributes)
        first, second = own.counts
        operands = value.operands
        return cls(
            value,
            own.body.graph,
            own.dim,
            own.reverse,
            operands[:first],
            operands[first : first + second],
            operands[first + second :],
        )

    def leaves(self) -> dict[str, Value]:
        """The body's own, by name."""
        return {one.name: one for one in self.body.values("given")}

    def operand_of(self) -> dict[str, Value]:
        """What each leaf of the body stands for."""
        kinds = zip(LEAVES, (self.sequences, self.begins, self.captured), strict=True)
        return {f"{kind}{i}": one for kind, operands in kinds for i, one in enumerate(operands)}


def scan(
    graph: Builder,
    body: Graph,
    dim: str,
    sequences: Sequence[Value],
    begins: Sequence[Value],
    captured: Sequence[Value],
    is_reversed: bool = False,
    carries: Sequence[str] = (),
    is_whole: bool = False,
) -> Value:
    """A scan over the rows of `dim`, from the last step to the first if `is_reversed`; `carries` are what the file calls them. What `is_whole` computes again
    what another did not keep: nothing leaves it, or it would be kept after all."""
    attributes = ScanAttributes(
        Body(body), dim, is_reversed, (len(sequences), len(begins)), tuple(carries) or None, is_whole or None
    )
    return graph.add("scan", (*sequences, *begins, *captured), attributes, Type("f32"))


def part(value: Value, name: str) -> Value:
    """A result of a scan: `yield.NAME` as rows, or `last.0`, what a carry is after each sample's last step."""
    one = Scan.of(value)
    kind, _, own = name.partition(".")
    type_ = one.begins[int(own)].type if kind == "last" else one.body.results[name].type
    if kind != "last":
        type_ = type_.with_dims((one.dim, *type_.dims[1:]))
    return value.graph.add("part", (value,), Part(name, str(type_)), type_)


def compute(operands: Sequence[Array], value: Value, leaves: Mapping[str, Array], evaluate: Any) -> dict[str, Array]:
    """Every part of a scan, in NumPy, a step at a time."""
    one = Scan.of(value)
    names = list(one.operand_of())
    given = dict(zip(names, operands, strict=True))
    types = {name: leaf.type for name, leaf in one.leaves().items()}
    sample, step = (np.asarray(leaves[f"rows.{kind}.{one.dim}"]) for kind in ("sample", "step"))
    carries = {name: np.array(array) for name, array in given.items() if name.startswith("c")}
    stacked: dict[str, Array] = {}
    count = int(step.max()) + 1
    for t in reversed(range(count)) if one.is_reversed else range(count):
        rows = np.flatnonzero(step == t)
        running = sample[rows]
        held = {name: array[running] for name, array in carries.items()}
        held |= {name: array[rows] for name, array in given.items() if name.startswith("x")}
        for name in (name for name in names if name.startswith("k")):
            is_own = name in types and types[name].is_batched
            held[name] = given[name][running] if is_own else given[name]
        for name, made in evaluate(one.body, held, len(rows)).items():
            kind, _, own = name.partition(".")
            if kind == "next":
                carries[f"c{own}"][running] = made
            else:
                whole = stacked.setdefault(name, np.zeros((len(step), *made.shape[1:]), made.dtype))
                whole[rows] = made
    return {**stacked, **{f"last.{name[1:]}": array for name, array in carries.items()}}


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("the interpreter runs scans itself")


register(
    Operation(
        "scan",
        "A body run once a step, with carries.",
        role=Role.SCAN,
        attributes=ScanAttributes,
        type=lambda *_, **__: Type("f32"),
        reference=_no_reference,
        lower=Kernel("scan"),
        is_callable=False,
    )
)
register(
    Operation(
        "part",
        "One of a scan's results.",
        role=Role.PART,
        attributes=Part,
        type=lambda whole, of, type: parse_type(type),
        reference=_no_reference,
        lower=View(),
        is_callable=False,
    )
)


def _flat(x: Any) -> Any:
    return x.reshape(-1, *x.shape[2:])


def _from_reference(y: Any, place: Any, size: int, sizes: Sizes = 1) -> Any:
    result = np.zeros((size_of(BATCH, sizes) * size, *y.shape[1:]), y.dtype)
    result[place] = y
    return result.reshape(-1, size, *y.shape[1:])


register(
    Operation(
        "to_steps",
        "Sequences with room for n steps each, as rows: x[batch, n, ...] -> [steps, ...].",
        attributes=Attributes,
        type=lambda x, place: x.with_dims((*place.dims, *x.dims[2:])),
        reference=lambda x, place: _flat(x)[place],
        lower=Kernel("to_steps"),
        gradient=lambda g, r, x, place: (apply("from_steps", g, place, size=x.type.dims[1]), None),
        is_callable=False,
    )
)
register(
    Operation(
        "from_steps",
        "Rows as sequences with room for n steps each, zeros beyond their ends: the inverse of to_steps.",
        takes_sizes=True,
        attributes=Room,
        type=lambda y, place, size: y.with_dims((BATCH, size, *y.dims[1:])),
        reference=_from_reference,
        lower=Kernel("from_steps"),
        gradient=lambda g, r, y, place, size: (apply("to_steps", g, place), None),
        is_callable=False,
    )
)


def to_steps(x: Value, dim: str) -> Value:
    """A sample's steps as rows."""
    if x.operation == "from_steps" and x.operands[0].type.rows == dim:
        return x.operands[0]
    return apply("to_steps", x, table(x.graph, f"place{x.type.dims[1]}", dim))


def from_steps(y: Value, size: int) -> Value:
    """Rows as a sample's steps."""
    assert y.type.rows is not None
    return apply("from_steps", y, table(y.graph, f"place{size}", y.type.rows), size=size)


def scans(graph: Graph) -> Iterator[Scan]:
    for value in graph.values("scan"):
        yield Scan.of(value)
