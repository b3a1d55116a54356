"""Operations applied to the values of one sample: alignment of the batch, and axes by name or number.

A model describes one sample; in the graph the batch is the first dimension of every value that depends on data. This
file, forms/joining.py and contractions.py alone turn the first view into the second. Functions take evaluated operands
and return values; they raise Mismatch if operands do not fit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler.elaborate import contractions
from netc.compiler.ir.forms import Custom, Scalar
from netc.compiler.ir.types import BATCH, Bounded, Dim, Mismatch, describe_sample
from netc.compiler.ir.value import Operation, Value, apply
from netc.compiler.operations import bounded, sequence
from netc.dsl.diagnostics import nearest

AxisNames = Mapping[Value, tuple[str | None, ...]]


def batched_dims(sample: Sequence[Dim], like: Value) -> tuple[Dim, ...]:
    """A sample's shape with the batch in front if `like` has one.

    Raises Mismatch if its varying dimensions are not those of `like`.
    """
    names = [dim for dim in sample if isinstance(dim, str)]
    if names != [dim for dim in like.type.sample if isinstance(dim, str)] or (
        like.type.is_varying and sample[0] != names[0]
    ):
        raise Mismatch(f"{describe_sample(like.type)} cannot become {list(sample)}")
    if not like.type.lead:
        return tuple(sample)
    bounded_dims = {dim.name: dim for dim in like.type.dims if isinstance(dim, Bounded)}
    return (BATCH, *(bounded_dims[dim] if isinstance(dim, str) else dim for dim in sample))


def align(values: Sequence[Value]) -> list[Value]:
    """The values shaped so that their samples broadcast against each other, by NumPy's rule on the shape of one sample.

    A value with a batch and fewer sample dimensions than the widest gets dimensions of size 1 behind the batch, or the
    batch would be taken for one of the sample's dimensions. Beside a varying dimension, a value that a sample has once
    is repeated at each of the sample's steps; if two varying dimensions meet, all values are stored at their bounds.
    """
    rank = max(len(value.type.sample) for value in values)
    _check_fit(values, rank)
    values = held_together(values)
    dim = next((value.type.rows for value in values if value.type.is_varying), None)
    result = []
    for value in values:
        value = widened(value, rank)
        if dim is not None and value.type.lead:
            value = sequence.spread(apply("reshape", value, dims=(BATCH, *value.type.dims[2:])), dim)
        result.append(value)
    return result


def widened(value: Value, rank: int) -> Value:
    """The value with dimensions of size 1 in front of its sample's, if it has a batch: at least `rank` in all."""
    missing = max(rank - len(value.type.sample), 0)
    if not value.type.lead or not missing:
        return value
    return apply("reshape", value, dims=(BATCH, *(1,) * missing, *value.type.dims[1:]))


def _check_fit(values: Sequence[Value], rank: int) -> None:
    """Raises Mismatch if samples do not broadcast to `rank` dimensions."""
    samples = [value.type.sample for value in values]
    for column in zip(*((1,) * (rank - len(sample)) + sample for sample in samples), strict=True):
        sizes = list(dict.fromkeys(dim for dim in column if dim != 1))
        if len(sizes) > 1:
            if all(isinstance(dim, str) for dim in sizes):
                raise Mismatch(
                    f"the lengths {sizes[0]} and {sizes[1]} differ from sample to sample",
                    f"one name for both dimensions says that they are equal: {sizes[0]}",
                    "E0406",
                )
            lacks_axis = any(isinstance(dim, str) for dim in sizes) and len(set(map(len, samples))) > 1
            hint = "`unsqueeze` adds an axis" if lacks_axis else None
            raise Mismatch(f"the dimensions {' and '.join(map(str, column))} do not fit together", hint)


def beside(x: Value, like: Value) -> Value:
    """A number of each sample, with an axis of size 1 for each axis of a sample of `like`."""
    return apply("reshape", x, dims=(BATCH, *(1,) * len(like.type.sample)))


def held_together(values: Sequence[Value]) -> list[Value]:
    """The operands of an operation: at their bounds, behind the batch, if they have several varying dimensions."""
    steps = {(value.type.rows, value.type.rank) for value in values if value.type.is_varying}
    if len(steps) > 1 or (steps and any(value.type.is_held for value in values)):
        return [bounded.hold(value) for value in values]
    return list(values)


# element-wise operations that take integers and bools as they are
_OF_ANY_TYPE = (
    *("where", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "logical_not"),
)


def apply_elementwise(
    operation: Operation, values: Sequence[Value], attributes: Mapping[str, Any] | None = None
) -> Value:
    """An element-wise operation: operands become floats if the operation needs them, and broadcast.

    Raises Mismatch for classes.
    """
    labels = [value for value in values if value.type.classes is not None]
    if labels and operation.name not in ("equal", "not_equal", "where"):
        raise Mismatch("a class is a label, not a number", "`one_hot(label)` makes numbers of it", "E0402")
    operands = list(values)
    if any(operand.type.is_float for operand in operands) or operation.name not in _OF_ANY_TYPE:
        precision = operands[0].graph.precision
        first = 1 if operation.name == "where" else 0
        operands = [
            operand if operand.type.is_float or i < first else apply("cast", operand, dtype=precision)
            for i, operand in enumerate(operands)
        ]
    return operation(*align(operands), **(attributes or {}))


def axis_names(value: Value, declared: AxisNames, called: Mapping[str, str]) -> tuple[str | None, ...]:
    """The names of a sample's axes, None for an axis without one: declared, or passed on by element-wise operations.

    `called` has the names of varying dimensions that are called otherwise in the scope of the value.
    """
    if value in declared:
        return declared[value]
    sample = len(value.type.sample)
    names: list[str | None] = [called.get(dim, dim) if isinstance(dim, str) else None for dim in value.type.sample]
    if isinstance(value.lower, Scalar):
        for operand in value.operands:
            for i, name in enumerate(reversed(axis_names(operand, declared, called)), 1):
                if i <= sample and name is not None:
                    names[sample - i] = name
    return tuple(names)


def axis_number(value: Value, axis: int | str, declared: AxisNames, lengths: Mapping[str, str]) -> int:
    """An axis of a sample, by number or name, as an axis of the graph's value.

    `lengths` are the varying dimensions by their names in a block, whose caller may call them otherwise. Raises
    Mismatch unless there is exactly one such axis.
    """
    lead = value.type.lead
    sample = value.type.rank - lead
    if isinstance(axis, str):
        if axis == BATCH:
            if not value.type.is_batched:
                raise Mismatch("this value does not depend on data: it has no batch", code="E0403")
            return 0
        called = {dim: name for name, dim in lengths.items()}
        if axis in lengths:  # two parameters of a block may be of the same length
            called[lengths[axis]] = axis
        names = axis_names(value, declared, called)
        if names.count(axis) != 1:
            by_number = "an axis may be given by its number, counted from 0"
            if axis in names:
                raise Mismatch(f"two axes are called `{axis}`", by_number, "E0403")
            here = [name for name in names if name is not None]
            hint = nearest(axis, here) or by_number
            if called.get(axis) in here:
                hint = f"here it is called `{called[axis]}`"
            raise Mismatch(f"no axis of this value is called `{axis}`", hint, "E0403")
        return names.index(axis) + lead
    if not sample:
        raise Mismatch("a number has no axes", code="E0403")
    if not -sample <= axis < sample:
        axes = "axis" if sample == 1 else "axes"
        hint = f"axes are counted from 0, and the batch is none of them: the last one is {sample - 1}, or -1"
        raise Mismatch(f"axis {axis} of a value with {sample} {axes}", hint, "E0403")
    return axis % sample + lead


def class_size(index: Value, count: int) -> int:
    """The number of classes: `count`, or if that is 0, the one in the index's type. Raises Mismatch if it has none."""
    size = count or index.type.classes
    if not size:
        raise Mismatch("how many classes there are is not known here", "give the number: `one_hot(x, 10)`", "E0402")
    return size


# operations that take a value at its bound as it is, beside element-wise ones and those that name axes
_KEEPS_BOUND = (
    *("matmul", "einsum", "transpose", "reshape", "broadcast", "squeeze", "unsqueeze", "concat", "gather", "one_hot"),
    *("dropout", "normal_like", "uniform_like", "stop_gradient", "edit_distance"),
)


def apply_operation(operation: Operation, operands: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
    """The first of the results that `results_of` returns."""
    return results_of(operation, operands, attributes)[0]


def results_of(operation: Operation, operands: Sequence[Value], attributes: Mapping[str, Any]) -> tuple[Value, ...]:
    """The results of an operation on values of a sample, along axes that do not vary.

    Raises Mismatch if they do not fit.
    """
    result: Value | tuple[Value, ...]
    if isinstance(operation.lower, Scalar):
        result = apply_elementwise(operation, operands, attributes)
    elif operation.name == "matmul":
        result = contractions.matmul(*operands)
    else:
        types = [operand.type for operand in operands]
        at_bound = next((type_ for type_ in types if type_.is_held), None)
        if at_bound is not None and operation.name not in _KEEPS_BOUND and "over" not in operation.arguments:
            raise Mismatch(f"`{operation.name}` of {describe_sample(at_bound)} does not run yet", code="E0901")
        if isinstance(operation.lower, Custom) and any(type_.is_varying or type_.is_held for type_ in types):
            raise Mismatch(f"`{operation.name}` of a sequence does not run yet", code="E0901")
        result = operation(*operands, **attributes)
    return tuple(map(bounded.pack, result if isinstance(result, tuple) else (result,)))


def along_steps(operation: Operation, x: Value, over: tuple[int, ...]) -> Value:
    """An operation along axes one of which varies: along the steps of each sample.

    Raises Mismatch if it has no such form.
    """
    if x.type.is_varying and operation.name in sequence.ALONG_STEPS:
        return sequence.ALONG_STEPS[operation.name](x, tuple(axis for axis in over if axis))
    build = bounded.ALONG_HELD.get(operation.name)
    if build is None:
        name = next(dim for dim in x.type.sample if isinstance(dim, str))
        raise Mismatch(f"`{operation.name}` along {name} does not run yet", code="E0901")
    lead = int(x.type.is_varying)  # `hold` puts the batch before a row's steps
    return bounded.pack(build(bounded.hold(x), tuple(axis + lead for axis in over)))
