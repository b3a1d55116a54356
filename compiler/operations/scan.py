"""`scan`: a body that runs once a step, over rows of sequences, with values that it carries from each step to the next.

A scan is one value in every pass. Its operands are sequences (a row for each step of each sample), the initial values
of the carries, and captured values, which the body uses from outside. Its results are `part`s: the yielded values,
stacked as rows, and the final values of the carries. The body is a graph whose batch consists of the samples that still
run. It has leaves `x0`, `c0`, `k0`, ... for the three kinds of operands, and results `next.0` for each carry and
`yield.NAME`.
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
    """The attributes of a scan.

    `counts` are the numbers of sequences and of initial values among the operands; the others are captured. `carries`
    are the names of the carries in the file. `whole` is set if the scan recomputes what another scan did not keep.
    """

    body: Body
    dim: str
    reverse: bool
    counts: tuple[int, int]
    carries: tuple[str, ...] | None = None
    whole: bool | None = None


@dataclass(frozen=True, slots=True)
class Part(Attributes):
    """The name of a scan's result, and its type as text, because a scan may have results of several types."""

    of: str
    type: str


@dataclass(frozen=True, slots=True)
class StoredSteps(Attributes):
    """The number of steps that are stored for each sample."""

    size: int


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan value with its operands by kind."""

    value: Value
    body: Graph
    dim: str
    is_reversed: bool
    sequences: tuple[Value, ...]
    begins: tuple[Value, ...]
    captured: tuple[Value, ...]

    @classmethod
    def of(cls, value: Value) -> "Scan":
        """Returns the parts of a value whose operation is `scan`."""
        attributes = value.attributes_as(ScanAttributes)
        first, second = attributes.counts
        operands = value.operands
        return cls(
            value,
            attributes.body.graph,
            attributes.dim,
            attributes.reverse,
            operands[:first],
            operands[first : first + second],
            operands[first + second :],
        )

    def leaves(self) -> dict[str, Value]:
        """The leaves of the body, by name."""
        return {leaf.name: leaf for leaf in self.body.values("given")}

    def operand_of(self) -> dict[str, Value]:
        """The operand that each leaf of the body stands for, by the leaf's name."""
        kinds = zip(LEAVES, (self.sequences, self.begins, self.captured), strict=True)
        return {f"{kind}{i}": operand for kind, operands in kinds for i, operand in enumerate(operands)}


@dataclass(frozen=True, slots=True)
class ScanOperands:
    """The operands of a scan by kind: sequences, initial values of the carries, and captured values."""

    sequences: Sequence[Value] = ()
    begins: Sequence[Value] = ()
    captured: Sequence[Value] = ()


def scan(
    graph: Builder,
    body: Graph,
    dim: str,
    operands: ScanOperands,
    is_reversed: bool = False,
    carries: Sequence[str] = (),
    recomputes: bool = False,
) -> Value:
    """Adds a scan over the rows of `dim`, from the last step to the first if `is_reversed`.

    `carries` are the names of the carries in the file. `recomputes` marks a scan that recomputes values which another
    scan did not keep. Passes move only those values out of it that are the same at all steps, because a value for each
    step, computed outside, would have to be kept.
    """
    counts = (len(operands.sequences), len(operands.begins))
    attributes = ScanAttributes(Body(body), dim, is_reversed, counts, tuple(carries) or None, recomputes or None)
    values = (*operands.sequences, *operands.begins, *operands.captured)
    return graph.add("scan", values, attributes, Type("f32"))


def part(value: Value, name: str) -> Value:
    """Adds a result of a scan: `yield.NAME` as rows, or `last.0`, a carry after each sample's last step."""
    scanned = Scan.of(value)
    kind, _, suffix = name.partition(".")
    type_ = scanned.begins[int(suffix)].type if kind == "last" else scanned.body.results[name].type
    if kind != "last":
        type_ = type_.with_dims((scanned.dim, *type_.dims[1:]))
    return value.graph.add("part", (value,), Part(name, str(type_)), type_)


def compute(operands: Sequence[Array], value: Value, leaves: Mapping[str, Array], evaluate: Any) -> dict[str, Array]:
    """Computes all parts of a scan with NumPy, step by step. Returns them by name."""
    scanned = Scan.of(value)
    names = list(scanned.operand_of())
    arrays = dict(zip(names, operands, strict=True))
    types = {name: leaf.type for name, leaf in scanned.leaves().items()}
    sample, step = (np.asarray(leaves[f"rows.{kind}.{scanned.dim}"]) for kind in ("sample", "step"))
    carries = {name: np.array(array) for name, array in arrays.items() if name.startswith("c")}
    stacked: dict[str, Array] = {}
    count = int(step.max()) + 1
    for t in reversed(range(count)) if scanned.is_reversed else range(count):
        rows = np.flatnonzero(step == t)
        running = sample[rows]
        inputs = {name: array[running] for name, array in carries.items()}
        inputs |= {name: array[rows] for name, array in arrays.items() if name.startswith("x")}
        for name in (name for name in names if name.startswith("k")):
            is_of_sample = name in types and types[name].is_batched
            inputs[name] = arrays[name][running] if is_of_sample else arrays[name]
        for name, result in evaluate(scanned.body, inputs, len(rows)).items():
            kind, _, suffix = name.partition(".")
            if kind == "next":
                carries[f"c{suffix}"][running] = result
            else:
                all_rows = stacked.setdefault(name, np.zeros((len(step), *result.shape[1:]), result.dtype))
                all_rows[rows] = result
    return {**stacked, **{f"last.{name[1:]}": array for name, array in carries.items()}}


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("the interpreter runs scans itself")


register(
    Operation(
        "scan",
        "Runs a body once per step, with values that are carried from step to step.",
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
        "A result of a scan.",
        role=Role.PART,
        attributes=Part,
        type=lambda scan, of, type: parse_type(type),
        reference=_no_reference,
        lower=View(),
        is_callable=False,
    )
)


def _flat(x: Any) -> Any:
    return x.reshape(-1, *x.shape[2:])


def _from_steps_reference(y: Any, place: Any, size: int, sizes: Sizes = 1) -> Any:
    result = np.zeros((size_of(BATCH, sizes) * size, *y.shape[1:]), y.dtype)
    result[place] = y
    return result.reshape(-1, size, *y.shape[1:])


register(
    Operation(
        "to_steps",
        "Packs sequences that are stored with n steps each as rows: x[batch, n, ...] -> [steps, ...].",
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
        "Stores rows as sequences with n steps each, with zeros beyond their ends: the inverse of to_steps.",
        takes_sizes=True,
        attributes=StoredSteps,
        type=lambda y, place, size: y.with_dims((BATCH, size, *y.dims[1:])),
        reference=_from_steps_reference,
        lower=Kernel("from_steps"),
        gradient=lambda g, r, y, place, size: (apply("to_steps", g, place), None),
        is_callable=False,
    )
)


def to_steps(x: Value, dim: str) -> Value:
    """Packs x[batch, n, ...] as rows of the dimension `dim`, without the elements beyond each sample's end."""
    if x.operation == "from_steps" and x.operands[0].type.rows == dim:
        return x.operands[0]
    return apply("to_steps", x, table(x.graph, f"place{x.type.dims[1]}", dim))


def from_steps(y: Value, size: int) -> Value:
    """Unpacks rows as [batch, size, ...], with zeros beyond each sample's end."""
    assert y.type.rows is not None
    return apply("from_steps", y, table(y.graph, f"place{size}", y.type.rows), size=size)


def scans(graph: Graph) -> Iterator[Scan]:
    """All scans of a graph, in order."""
    for value in graph.values("scan"):
        yield Scan.of(value)
