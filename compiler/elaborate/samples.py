"""Operations applied to the values of one sample: alignment of the batch, axes by name or number, listed arguments.

A model describes one sample; in the graph the batch is the first dimension of whatever depends on data. This file is the only
one that turns the first view into the second. Takes evaluated operands, gives values; raises Mismatch where they do not fit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netc.compiler.elaborate.bindings import Results
from netc.compiler.ir.dims import same
from netc.compiler.ir.types import BATCH, Bounded, Dim, Mismatch, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Operation, Own, Scalar, Value, apply
from netc.compiler.operations import bounded, sequence
from netc.compiler.operations.scan import Room, to_steps

AxisNames = Mapping[Value, tuple[str | None, ...]]


def batched_dims(sample: Sequence[Dim], like: Value) -> tuple[Dim, ...]:
    """A sample's shape as the graph has it: the batch in front if `like` has one. Raises Mismatch where varying dimensions are not those of `like`."""
    names = [dim for dim in sample if isinstance(dim, str)]
    if names != [dim for dim in like.type.sample if isinstance(dim, str)] or (
        like.type.is_varying and sample[0] != names[0]
    ):
        raise Mismatch(f"{describe_sample(like.type)} cannot become {list(sample)}")
    if not like.type.lead:
        return tuple(sample)
    known = {dim.name: dim for dim in like.type.dims if isinstance(dim, Bounded)}
    return (BATCH, *(known[dim] if isinstance(dim, str) else dim for dim in sample))


def align(values: Sequence[Value]) -> list[Value]:
    """Values whose samples broadcast against each other, by NumPy's rule on the shape of one sample.

    Where some have a batch and fewer sample dimensions than the widest, ones are put between, or the batch would be taken for one
    of the sample's dimensions. Beside a varying dimension, what a sample has once is repeated at each of its steps; where two of them meet, all are held.
    """
    rank = max(len(value.type.sample) for value in values)
    _check_fit(values, rank)
    values = held_together(values)
    dim = next((value.type.rows for value in values if value.type.is_varying), None)
    result = []
    for value in values:
        missing = rank - len(value.type.sample)
        if value.type.lead and missing:
            value = apply("reshape", value, dims=(BATCH, *(1,) * missing, *value.type.dims[1:]))
        if dim is not None and value.type.lead:
            value = sequence.spread(apply("reshape", value, dims=(BATCH, *value.type.dims[2:])), dim)
        result.append(value)
    return result


def _check_fit(values: Sequence[Value], rank: int) -> None:
    """Raises Mismatch where samples do not broadcast."""
    for column in zip(*((1,) * (rank - len(one.type.sample)) + one.type.sample for one in values), strict=True):
        found = list(dict.fromkeys(dim for dim in column if dim != 1))
        if len(found) > 1:
            if all(isinstance(dim, str) for dim in found):
                raise Mismatch(
                    f"the lengths {found[0]} and {found[1]} differ from sample to sample",
                    f"one name for both dimensions says that they are equal: {found[0]}",
                    "E0406",
                )
            is_lying = any(isinstance(dim, str) for dim in found) and len({len(one.type.sample) for one in values}) > 1
            hint = "`unsqueeze` adds an axis" if is_lying else None
            raise Mismatch(f"the dimensions {' and '.join(map(str, column))} do not fit together", hint)


def beside(x: Value, like: Value) -> Value:
    """A number of each sample with as many axes of size 1 as another value has axes."""
    return apply("reshape", x, dims=(BATCH, *(1,) * len(like.type.sample)))


def held_together(values: Sequence[Value]) -> list[Value]:
    """Values that meet: where they have more than one varying dimension, each is behind the batch."""
    steps = {(value.type.rows, value.type.rank) for value in values if value.type.is_varying}
    if len(steps) > 1 or (steps and any(value.type.is_held for value in values)):
        return [bounded.hold(value) for value in values]
    return list(values)


def apply_elementwise(
    operation: Operation, values: Sequence[Value], attributes: Mapping[str, Any] | None = None
) -> Value:
    labels = [value for value in values if value.type.classes is not None]
    if labels and operation.name not in ("equal", "not_equal", "where"):
        raise Mismatch("a class is a label, not a number", "`one_hot(label)` makes numbers of it", "E0402")
    operands = list(values)
    if any(operand.type.is_float for operand in operands) or operation.name not in (
        "where",
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_not",
    ):
        precision = operands[0].graph.precision
        first = 1 if operation.name == "where" else 0
        operands = [
            operand if operand.type.is_float or i < first else apply("cast", operand, dtype=precision)
            for i, operand in enumerate(operands)
        ]
    return operation(*align(operands), **(attributes or {}))


def axis_names(value: Value, given: AxisNames) -> tuple[str | None, ...]:
    """The name of each sample axis of a value, as far as it is known: declared, or handed on by element-wise operations."""
    if value in given:
        return given[value]
    sample = len(value.type.sample)
    names: list[str | None] = [dim if isinstance(dim, str) else None for dim in value.type.sample]
    if value.operands and isinstance(OPERATIONS[value.operation].lower, Scalar):
        for operand in value.operands:
            for i, name in enumerate(reversed(axis_names(operand, given)), 1):
                if i <= sample and name is not None:
                    names[sample - i] = name
    return tuple(names)


def axis_number(value: Value, axis: int | str, given: AxisNames) -> int:
    """An axis of a sample, by number or name, as an axis of the graph's value. Raises Mismatch if there is none, or two."""
    lead = value.type.lead
    sample = value.type.rank - lead
    if isinstance(axis, str):
        if axis == BATCH:
            if not value.type.is_batched:
                raise Mismatch("this value does not depend on data: it has no batch", code="E0403")
            return 0
        names = axis_names(value, given)
        if names.count(axis) != 1:
            raise Mismatch(
                f"no axis of this value is called `{axis}`" if axis not in names else f"two axes are called `{axis}`",
                "an axis may be given by its number, counted from 0",
                "E0403",
            )
        return names.index(axis) + lead
    if not -sample <= axis < sample:
        raise Mismatch(f"axis {axis} of a value with {sample} axes", code="E0403")
    return axis % sample + lead if sample else lead


def class_size(index: Value, given: int) -> int:
    size = given or index.type.classes
    if not size:
        raise Mismatch("how many classes there are is not known here", "give the number: `one_hot(x, 10)`", "E0402")
    return size


def split(x: Value, parts: int, axis: int) -> Results:
    """x in equal parts along an axis."""
    size = x.type.dims[axis]
    if isinstance(size, str | Bounded):
        raise Mismatch(
            f"{x.type.sample[axis - x.type.lead]} differs from sample to sample: it cannot be split into parts",
            code="E0406",
        )
    if parts < 1 or size % parts:
        raise Mismatch(f"{size} elements cannot be split into {parts} equal parts")
    step = size // parts
    return Results(tuple(apply("slice", x, axis=axis, start=i * step, stop=(i + 1) * step) for i in range(parts)))


def pick(x: Value, index: Value) -> Value:
    """x[index] where each sample has an x and an index of its own, along the first axis of the sample."""
    x = bounded.hold(x)
    if not index.type.lead or index.type.sample or index.type.dtype != "i32":
        raise Mismatch("a value of the sample is indexed by one class or whole number of the sample", code="E0402")
    size = x.type.dims[1]
    if index.type.classes is not None and index.type.classes != size:
        raise Mismatch(f"an index of {index.type.classes} classes into an axis of {size}", code="E0402")
    chosen = apply("one_hot", index, n=size)
    return apply("sum", x * apply("reshape", chosen, dims=(BATCH, size, *(1,) * (x.type.rank - 2))), over=(1,))


def einsum(values: Sequence[Value], parts: Sequence[str], out: str) -> Value:
    """The sum of products over the axes that `out` does not name; letters name the axes of samples. More than two values are taken from the left."""
    for value, letters in zip(values, parts, strict=True):
        if not value.type.is_float:
            raise Mismatch("a product needs floats", code="E0402")
        if len(letters) != len(value.type.sample) or len(set(letters)) != len(letters):
            raise Mismatch(
                f"`{letters}` names {len(letters)} axes, the value has {len(value.type.sample)}; each is named once"
            )
    if unknown := set(out) - set("".join(parts)):
        raise Mismatch(f"no value has the axis `{min(unknown)}` of the result")
    if len(set(out)) != len(out):
        raise Mismatch("an axis of the result is named twice")
    _check_letters(values, parts)
    rows = {letters[0] for value, letters in zip(values, parts, strict=True) if value.type.is_varying}
    is_by_row = bool(rows) and rows == set(out[:1]) and not any(value.type.lead for value in values)
    if rows and not is_by_row:
        values = [bounded.hold(value) for value in values]
    values = _without_beyond(values, parts, out)
    left, letters = values[0], parts[0]
    for i, right in enumerate(values[1:], 1):
        later = out + "".join(parts[i + 1 :])
        kept = "".join(dict.fromkeys(letter for letter in letters + parts[i] if letter in later))
        if is_by_row and out[0] in kept:  # the first of whatever has it
            kept = out[0] + kept.replace(out[0], "")
        kept = out if i == len(values) - 1 else kept
        marked = ["#" * one.type.lead + own for one, own in ((left, letters), (right, parts[i]))]
        batch = "#" if "#" in "".join(marked) else ""
        subscripts = f"{marked[0]},{marked[1]}->{batch}{kept}".replace("#", _free_letter("".join(parts)))
        left, letters = apply("einsum", left, right, subscripts=subscripts), kept
    lead = left.type.lead
    gone = tuple(i + lead for i, letter in enumerate(letters) if letter not in out)
    letters = "".join(letter for letter in letters if letter in out)
    left = apply("sum", left, over=gone) if gone else left
    order = (*range(lead), *(letters.index(letter) + lead for letter in out))
    return left if order == tuple(range(left.type.rank)) else apply("transpose", left, order=order)


def _check_letters(values: Sequence[Value], parts: Sequence[str]) -> None:
    """Raises Mismatch where one letter stands for two dimensions."""
    known: dict[str, Dim] = {}
    for value, letters in zip(values, parts, strict=True):
        for letter, dim in zip(letters, value.type.sample, strict=True):
            if known.setdefault(letter, dim) != dim:
                code = "E0406" if isinstance(dim, str) and isinstance(known[letter], str) else "E0401"
                raise Mismatch(f"the axis `{letter}` is {known[letter]} and {dim}", code=code)


def _without_beyond(values: Sequence[Value], parts: Sequence[str], out: str) -> list[Value]:
    """The operands of a product: of each axis that is summed over, one has zeros beyond the end of a sample."""
    result, done = list(values), set(out)
    for i, letters in enumerate(parts):
        lead = values[i].type.lead
        axes = [n + lead for n, letter in enumerate(letters) if letter not in done]
        result[i] = bounded.without_beyond(result[i], tuple(axes)) if lead else result[i]
        done |= set(letters)
    return result


def matmul(x: Value, y: Value) -> Value:
    """x[..., n, k] @ y[..., k, m] of each sample. A product of steps with what does not depend on data is taken row by row."""
    if not x.type.sample or not y.type.sample:
        raise Mismatch("`@` needs at least a vector on each side", "a number multiplies with `*`")
    depth, wanted = x.type.sample[-1], y.type.sample[0 if len(y.type.sample) == 1 else -2]
    if depth != wanted:
        raise Mismatch(f"`@` multiplies rows of {depth} with columns of {wanted}")
    if y.type.is_batched or depth == x.type.rows:
        x, y = bounded.hold(x), bounded.hold(y)
        y = bounded.without_beyond(y, (y.type.lead if len(y.type.sample) == 1 else y.type.rank - 2,))
    return apply("matmul", x, y)


def _free_letter(used: str) -> str:
    """A letter for the batch that no axis has."""
    return next(letter for letter in "BACDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in used)


def with_common_batch(values: Sequence[Value]) -> list[Value]:
    """Values to be joined: if one depends on data, all get its batch, and if one has steps, all that a step has."""
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


def joins_steps(values: Sequence[Value], axes: Sequence[int | str]) -> bool:
    """Whether values are joined along a varying dimension: one of them has it, and it is the axis that is named."""
    known = next((value for value in values if value.type.is_varying), None)
    if known is None or len(axes) != 1 or any(value.type.is_held for value in values):
        return False
    return axes[0] in (0, -len(known.type.sample)) or axes[0] in {value.type.rows for value in values}


def join_steps(values: Sequence[Value]) -> Value:
    """The steps of each sample, those of one value after those of another. Raises Mismatch where a step of one is not as one of the others."""
    first = values[0].type
    for value in values:
        if value.type.sample[1:] != first.sample[1:] or value.type.dtype != first.dtype or not value.type.sample:
            told = f"{describe_sample(first)} and {describe_sample(value.type)}"
            raise Mismatch(f"what is joined may differ along that axis alone: {told}", code="E0403")
    rows = []
    for value in values:
        if not value.type.is_batched:
            value = apply("broadcast", value, dims=(BATCH, *value.type.dims))
        size = value.type.dims[value.type.lead]
        rows.append(to_steps(value, same(size)) if isinstance(size, int) else value)
    return sequence.joined(rows)


# what takes a held value as it is, beside element-wise operations and what names its axes
_OF_HELD = (
    *("matmul", "einsum", "transpose", "reshape", "broadcast", "squeeze", "unsqueeze", "concat", "gather", "one_hot"),
    *("dropout", "normal_like", "uniform_like", "stop_gradient", "edit_distance"),
)


def apply_operation(operation: Operation, operands: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
    """The first result of an operation, as `results_of`."""
    return results_of(operation, operands, attributes)[0]


def results_of(operation: Operation, operands: Sequence[Value], attributes: Mapping[str, Any]) -> tuple[Value, ...]:
    """An operation on values of a sample, none of whose axes that it goes along varies. Raises Mismatch where they do not fit."""
    result: Value | tuple[Value, ...]
    if isinstance(operation.lower, Scalar):
        result = apply_elementwise(operation, operands, attributes)
    elif operation.name == "matmul":
        result = matmul(*operands)
    else:
        held = next((one for one in operands if one.type.is_held), None)
        if held is not None and operation.name not in _OF_HELD and "over" not in operation.arguments:
            raise Mismatch(f"`{operation.name}` of {describe_sample(held.type)} does not run yet", code="E0901")
        if isinstance(operation.lower, Own) and any(one.type.is_varying or one.type.is_held for one in operands):
            raise Mismatch(f"`{operation.name}` of a sequence does not run yet", code="E0901")
        result = operation(*operands, **attributes)
    return tuple(map(bounded.pack, result if isinstance(result, tuple) else (result,)))


def along_steps(operation: Operation, x: Value, over: tuple[int, ...]) -> Value:
    """An operation whose axes take in a varying one: along the steps of each sample."""
    if x.type.is_varying and operation.name in sequence.ALONG_STEPS:
        return sequence.ALONG_STEPS[operation.name](x, tuple(axis for axis in over if axis))
    build = bounded.ALONG_HELD.get(operation.name)
    if build is None:
        name = next(dim for dim in x.type.sample if isinstance(dim, str))
        raise Mismatch(f"`{operation.name}` along {name} does not run yet", code="E0901")
    lead = int(x.type.is_varying)  # the batch, which comes before a row's steps then
    return bounded.pack(build(bounded.hold(x), tuple(axis + lead for axis in over)))


def filled(number: float) -> Callable[..., Value]:
    def build(like: Value, dims: tuple[int, ...]) -> Value:
        constant = like.graph.constant(number, Type(like.graph.precision))
        return apply("broadcast", constant, dims=dims) if dims else constant

    return build


def step_of(x: Value, at: int) -> Value:
    """One element along the first axis of a sample, that axis gone; `at` from the end if negative."""
    axis, size = x.type.lead, x.type.dims[x.type.lead]
    assert isinstance(size, int)
    if isinstance(size, Bounded):
        raise Mismatch(f"a step along {size.name} beside another such dimension does not run yet", code="E0901")
    if isinstance(x.attributes, Room) and at in (0, -1):  # what a scan stacked
        return sequence.at_end(x.operands[0], "first" if at == 0 else "last")
    one = apply("slice", x, axis=axis, start=at % size, stop=at % size + 1)
    return apply("reshape", one, dims=(*x.type.dims[:axis], *x.type.dims[axis + 1 :]))


def shifted(x: Value, first: Value) -> Value:
    """x one step later along the first axis of a sample. Raises Mismatch where `first` is not as one of its steps."""
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
    axis, size = x.type.lead, x.type.dims[x.type.lead]
    assert isinstance(size, int)
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
