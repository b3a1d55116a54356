"""The values of a sample: cut into parts, indexed, joined and shifted along an axis.

Functions take evaluated operands and return values; they raise Mismatch if operands do not fit.
"""

from collections.abc import Sequence

from netc.compiler.elaborate.bindings import Results
from netc.compiler.elaborate.samples import held_together
from netc.compiler.ir.dims import same
from netc.compiler.ir.index_tables import TableKind
from netc.compiler.ir.types import BATCH, Bounded, Mismatch, describe_sample, fixed_size
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations import bounded, sequence
from netc.compiler.operations.scan import to_steps, unpack
from netc.dsl.plural import counted


def split(x: Value, parts: int, axis: int) -> Results:
    """x cut into equal parts along an axis. Raises Mismatch if its size is not a multiple of their number."""
    size = x.type.dims[axis]
    if isinstance(size, str | Bounded):
        raise Mismatch(
            f"{x.type.sample[axis - x.type.lead]} differs from sample to sample: it cannot be split into parts",
            code="E0406",
        )
    if parts < 1 or size % parts:
        raise Mismatch(f"{counted(size, 'element')} cannot be split into {parts} equal parts")
    step = size // parts
    return Results(tuple(apply("slice", x, axis=axis, start=i * step, stop=(i + 1) * step) for i in range(parts)))


def pick(x: Value, index: Value) -> Value:
    """x[index] along the first axis of a sample, with an index of each sample.

    Raises Mismatch unless it is one class or integer.
    """
    x = bounded.hold(x)
    if not index.type.lead or index.type.sample or index.type.dtype != "i32":
        rows = f"one_hot({index.name or 'i'}) @ {x.name or 'x'}"
        is_several = index.type.classes is not None and len(index.type.sample) == 1 and x.type.rank == 3
        raise Mismatch(
            "a value of the sample is indexed by one class or whole number of the sample",
            rows if is_several else None,
            "E0402",
        )
    size = x.type.dims[1]
    if index.type.classes is not None and index.type.classes != size:
        raise Mismatch(f"an index of {index.type.classes} classes into an axis of {size}", code="E0402")
    chosen = apply("one_hot", index, n=size)
    return apply("sum", x * apply("reshape", chosen, dims=(BATCH, size, *(1,) * (x.type.rank - 2))), over=(1,))


def with_common_batch(values: Sequence[Value]) -> list[Value]:
    """Values to be joined: if one of them has a batch, or a row for each step, all get it."""
    values = held_together(values)
    if not any(value.type.is_batched for value in values):
        return values
    rows = next((value.type.rows for value in values if value.type.is_varying), None) or BATCH
    joined = []
    for value in values:
        if value.type.rows == BATCH != rows:
            value = sequence.spread(value, rows)
        joined.append(value if value.type.is_batched else apply("broadcast", value, dims=(rows, *value.type.dims)))
    return joined


def refuse_numbers(values: Sequence[Value]) -> None:
    """Raises Mismatch if one of the values to be joined is a number, or a class beside numbers."""
    for value in values:
        name = value.name or "x"
        if value.type.classes is not None and any(other.type.is_float for other in values):
            raise Mismatch("a class is a label, and joins no numbers", f"one_hot({name})", "E0402")
        if not value.type.sample and value.type.classes is None:
            raise Mismatch("`concat` joins along an axis, and a number has none", f"unsqueeze({name})", "E0403")


def joins_steps(values: Sequence[Value], axes: Sequence[int | str]) -> bool:
    """Whether values are joined along a varying dimension: one of them has it, and `axes` names it."""
    sequence_value = next((value for value in values if value.type.is_varying), None)
    if sequence_value is None or len(axes) != 1 or any(value.type.is_held for value in values):
        return False
    return axes[0] in (0, -len(sequence_value.type.sample)) or axes[0] in {value.type.rows for value in values}


def join_steps(values: Sequence[Value]) -> Value:
    """The steps of each sample, one value's after another's. Raises Mismatch if the steps differ in type or shape."""
    first = values[0].type
    for value in values:
        if value.type.sample[1:] != first.sample[1:] or value.type.dtype != first.dtype or not value.type.sample:
            types = f"{describe_sample(first)} and {describe_sample(value.type)}"
            raise Mismatch(f"joined values may differ along that axis only: {types}", code="E0403")
    rows = []
    for value in values:
        if not value.type.is_batched:
            value = apply("broadcast", value, dims=(BATCH, *value.type.dims))
        size = value.type.dims[value.type.lead]
        rows.append(to_steps(value, same(size)) if isinstance(size, int) else value)
    return sequence.joined(rows)


def step_of(x: Value, position: int) -> Value:
    """The element at a position along a sample's first axis, which is dropped; from the end if it is negative."""
    axis, size = x.type.lead, x.type.dims[x.type.lead]
    if isinstance(size, Bounded):
        raise Mismatch(f"a step along {size.name} beside another such dimension does not run yet", code="E0901")
    if x.definition is unpack and position in (0, -1):  # the stack of a scan
        return sequence.at_end(x.operands[0], TableKind.FIRST if position == 0 else TableKind.LAST)
    element = apply("slice", x, axis=axis, start=position % fixed_size(size), stop=position % fixed_size(size) + 1)
    return apply("reshape", element, dims=(*x.type.dims[:axis], *x.type.dims[axis + 1 :]))


def shifted(x: Value, first: Value) -> Value:
    """x one step later along the first axis of a sample, after `first`.

    Raises Mismatch if `first` is not like a step of x.
    """
    if not x.type.sample:
        raise Mismatch("a number has no steps to shift")
    if first.type.dims[first.type.lead :] not in ((), x.type.sample[1:]):
        raise Mismatch(f"`first` is like a step of what is shifted: {list(x.type.sample[1:])}")
    if x.type.classes is not None and first.type.dtype != "i32":
        raise Mismatch("what is shifted is a class, and so is `first`", code="E0402")
    if x.type.is_varying:
        return sequence.shift(x, first)
    if x.type.is_held:
        raise Mismatch(f"`shift` of {describe_sample(x.type)} does not run yet", code="E0901")
    axis, size = x.type.lead, fixed_size(x.type.dims[x.type.lead])
    dims = (*x.type.dims[:axis], 1, *x.type.dims[axis + 1 :])
    if first.type.lead and len(first.type.dims) == 1:
        first = apply("reshape", first, dims=(BATCH, *(1,) * (x.type.rank - 1)))
    elif first.type.dims:
        first = apply("reshape", first, dims=(*first.type.dims[: first.type.lead], 1, *x.type.dims[axis + 1 :]))
    begin = apply("broadcast", first, dims=dims)
    if size == 1:
        return begin
    moved = apply("concat", begin, apply("slice", x, axis=axis, start=0, stop=size - 1), axis=axis)
    return x.graph.add_copy(moved, moved.operands, type_=x.type)
