"""`scan`: a body that runs once a step, over rows of sequences, with values that it carries from each step to the next.

A scan is one value in every pass. Its operands are sequences (a row for each step of each sample), the initial values
of the carries, and captured values, which the body uses from outside. Its results are `part`s: the yielded values,
stacked as rows, and the final values of the carries. The body is a graph whose batch consists of the samples that still
run. It has a leaf for each operand that it reads, whose slot says which one (`x0`, `c0`, `k0`, ...), and results
`next.0` for each carry and `yield.NAME`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Form, SpecialForm, View
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, table
from netc.compiler.ir.results import Result, ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Sizes, Type, parse_type, size_of
from netc.compiler.ir.value import Builder, Operation, Value, apply, register

Array = np.ndarray[Any, Any]


class SlotKind(Enum):
    """The kinds of a scan's operands, in their order. The value is the letter in the printed name of a leaf."""

    STEP_INPUT = "x"  # an element of a sequence: its row at the step
    CARRY = "c"
    CAPTURED = "k"  # a value from outside

    def slot(self, index: int) -> "Slot":
        """The slot for the operand number `index` of this kind."""
        return Slot(self, index)


class Slot(Struct, frozen=True):
    """The operand of a scan that a leaf of its body stands for."""

    kind: SlotKind
    index: int

    def __str__(self) -> str:
        return f"{self.kind.value}{self.index}"


def slot_of(value: Value) -> Slot | None:
    """The slot of a leaf in the body of a scan; None for other values."""
    return _parse_slot(value.name) if value.role is Role.GIVEN else None


@cache
def _parse_slot(name: str) -> Slot | None:
    match = re.fullmatch(r"([xck])(\d+)", name)
    return SlotKind(match[1]).slot(int(match[2])) if match else None


def add_leaf(body: Builder, slot: Slot, type_: Type) -> Value:
    """Adds the leaf of a slot to the body of a scan."""
    return body.leaf(Role.GIVEN, str(slot), type_)


class ScanAttributes(Attributes, frozen=True):
    """The attributes of a scan.

    `counts` are the numbers of sequences and of initial values among the operands; the others are captured. `carries`
    are the names of the carries in the file. `recomputes` is set if the scan recomputes what another scan did not keep.
    """

    body: Body
    dim: str
    reverse: bool
    counts: tuple[int, int]
    carries: tuple[str, ...] | None = None
    recomputes: bool | None = None


class Part(Attributes, frozen=True):
    """The name of a scan's result and its type, both as text, because a scan may have results of several types."""

    of: str
    type: str

    @property
    def result(self) -> Result:
        """The result of the body, or `last.0`: a carry after each sample's last step."""
        return parse_result(self.of)


class StoredSteps(Attributes, frozen=True):
    """The number of steps that are stored for each sample."""

    size: int


class Scan(Struct, frozen=True):
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

    def leaves(self) -> dict[Slot, Value]:
        """The leaves of the body, by slot."""
        return leaves_of(self.body)

    def operand_of(self) -> dict[Slot, Value]:
        """The operands by slot; the body need not have a leaf for each of them."""
        kinds = zip(SlotKind, (self.sequences, self.begins, self.captured), strict=True)
        return {kind.slot(i): operand for kind, operands in kinds for i, operand in enumerate(operands)}


def leaves_of(body: Graph) -> dict[Slot, Value]:
    """The leaves of the body of a scan, by slot."""
    return {slot: leaf for leaf in body.values() if (slot := slot_of(leaf)) is not None}


def depending(body: Graph, *kinds: SlotKind) -> set[Value]:
    """Returns the values that depend on leaves of some kinds."""
    dependent: set[Value] = set()
    for value in body.values():
        slot = slot_of(value)
        is_leaf = slot is not None and slot.kind in kinds
        if is_leaf or any(operand in dependent for operand in value.operands):
            dependent.add(value)
    return dependent


class ScanOperands(Struct, frozen=True):
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


def part(value: Value, result: Result) -> Value:
    """Adds a result of a scan: `yield.NAME` as rows, or `last.0`, a carry after each sample's last step."""
    scanned = Scan.of(value)
    if result.kind is ResultKind.LAST:
        type_ = scanned.begins[result.number].type
    else:
        type_ = scanned.body.results[result].type
        type_ = type_.with_dims((scanned.dim, *type_.dims[1:]))
    return value.graph.add("part", (value,), Part(str(result), str(type_)), type_)


def compute(operands: Sequence[Array], value: Value, leaves: Mapping[str, Array], evaluate: Any) -> dict[Result, Array]:
    """Computes all parts of a scan with NumPy, step by step."""
    scanned = Scan.of(value)
    arrays = dict(zip(scanned.operand_of(), operands, strict=True))
    types = {slot: leaf.type for slot, leaf in scanned.leaves().items()}
    sample, step = (
        np.asarray(leaves[str(IndexTable(kind, scanned.dim))]) for kind in (TableKind.SAMPLE, TableKind.STEP)
    )
    carries = {slot: np.array(array) for slot, array in arrays.items() if slot.kind is SlotKind.CARRY}
    stacked: dict[Result, Array] = {}
    count = int(step.max()) + 1
    for t in reversed(range(count)) if scanned.is_reversed else range(count):
        rows = np.flatnonzero(step == t)
        running = sample[rows]
        inputs = {str(slot): array[running] for slot, array in carries.items()}
        for slot, array in arrays.items():
            if slot.kind is SlotKind.STEP_INPUT:
                inputs[str(slot)] = array[rows]
            elif slot.kind is SlotKind.CAPTURED:
                is_of_sample = slot in types and types[slot].is_batched
                inputs[str(slot)] = array[running] if is_of_sample else array
        computed = evaluate(scanned.body, inputs, len(rows))
        for result in scanned.body.results:
            array = computed[str(result)]
            if result.kind is ResultKind.NEXT:
                carries[SlotKind.CARRY.slot(result.number)][running] = array
            else:
                all_rows = stacked.setdefault(result, np.zeros((len(step), *array.shape[1:]), array.dtype))
                all_rows[rows] = array
    return {**stacked, **{ResultKind.LAST.named(slot.index): array for slot, array in carries.items()}}


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("the interpreter runs scans itself")


def _no_layout(*_: Any, **__: Any) -> Any:
    raise AssertionError("a scan is lowered together with its parts")


register(
    Operation(
        "scan",
        "Runs a body once per step, with values that are carried from step to step.",
        role=Role.SCAN,
        attributes=ScanAttributes,
        type=lambda *_, **__: Type("f32"),
        reference=_no_reference,
        lower=SpecialForm(Form.SCAN),
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
        lower=View(_no_layout),
        is_callable=False,
    )
)


def _flat(x: Any) -> Any:
    return x.reshape(-1, *x.shape[2:])


def _from_steps_reference(y: Any, index: Any, size: int, sizes: Sizes = 1) -> Any:
    result = np.zeros((size_of(BATCH, sizes) * size, *y.shape[1:]), y.dtype)
    result[index] = y
    return result.reshape(-1, size, *y.shape[1:])


pack = register(
    Operation(
        "to_steps",
        "Packs sequences that are stored with n steps each as rows: x[batch, n, ...] -> [steps, ...].",
        attributes=Attributes,
        type=lambda x, index: x.with_dims((*index.dims, *x.dims[2:])),
        reference=lambda x, index: _flat(x)[index],
        lower=SpecialForm(Form.TO_STEPS),
        gradient=lambda g, r, x, index: (apply("from_steps", g, index, size=x.type.dims[1]), None),
        is_callable=False,
    )
)
unpack = register(
    Operation(
        "from_steps",
        "Stores rows as sequences with n steps each, with zeros beyond their ends: the inverse of to_steps.",
        takes_sizes=True,
        attributes=StoredSteps,
        type=lambda y, index, size: y.with_dims((BATCH, size, *y.dims[1:])),
        reference=_from_steps_reference,
        lower=SpecialForm(Form.FROM_STEPS),
        gradient=lambda g, r, y, index, size: (apply("to_steps", g, index), None),
        is_callable=False,
    )
)


def to_steps(x: Value, dim: str) -> Value:
    """Packs x[batch, n, ...] as rows of the dimension `dim`, without the elements beyond each sample's end."""
    if x.definition is unpack and x.operands[0].type.rows == dim:
        return x.operands[0]
    return apply("to_steps", x, table(x.graph, TableKind.SLOT, dim, size=int(x.type.dims[1])))


def from_steps(y: Value, size: int) -> Value:
    """Unpacks rows as [batch, size, ...], with zeros beyond each sample's end."""
    assert y.type.rows is not None
    return apply("from_steps", y, table(y.graph, TableKind.SLOT, y.type.rows, size=size), size=size)


def scans(graph: Graph) -> Iterator[Scan]:
    """All scans of a graph, in order."""
    for value in graph.values(Role.SCAN):
        yield Scan.of(value)
