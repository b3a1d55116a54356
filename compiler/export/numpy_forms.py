"""Writes shapes, products, reductions, gathers and image operations as NumPy expressions.

Each function takes the file, the value and the terms of its operands, and returns the term of the result.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from netc.compiler.export.scalar import Term
from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.attention import Attending, is_packed, table_names
from netc.compiler.operations.linear import Subscripts, is_matmul
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.running import RunningSum
from netc.compiler.operations.scan import StoredSteps
from netc.compiler.operations.shape import Count, Order, Pad, Slice
from netc.dsl.quoting import python_string

NUMPY_WORDS = {
    "f32": "np.float32",
    "f64": "np.float64",
    "i32": "np.int32",
    "i64": "np.int64",
    "u8": "np.uint8",
    "bool": "np.bool_",
}


class Text(Protocol):
    """The file: how it writes dimensions and the number of samples at the present position."""

    samples: str

    def dim(self, dim: Dim) -> str:
        """Returns the text of a dimension."""

    def dims(self, dims: Sequence[Dim]) -> list[str]:
        """Returns the texts of dimensions."""


def bare(text: str) -> str:
    """Removes parentheses that enclose all of the text."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for character in text[:-1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text
    return text[1:-1]


def _reshape(file: Text, value: Value, x: Term) -> Term:
    shape = ["-1" if isinstance(dim, str) else str(int(dim)) for dim in value.type.dims]
    return Term(f"np.reshape({bare(x.text)}, ({', '.join(shape)}{',' * (len(shape) == 1)}))", x.dtype)


def _broadcast(file: Text, value: Value, x: Term) -> Term:
    dims = file.dims(value.type.dims)
    return Term(f"np.broadcast_to({bare(x.text)}, ({', '.join(dims)}{',' * (len(dims) == 1)}))", x.dtype)


def _attend(file: Text, value: Value, q: Term, k: Term, v: Term, *tables: Term) -> Term:
    attributes = value.attributes_as(Attending)
    packs_keys, packs_queries = (is_packed(value.operands[number].type) for number in (1, 0))
    names = table_names(packs_keys, packs_queries, len(tables))
    named = "".join(f", {name}={bare(table.text)}" for name, table in zip(names, tables, strict=True))
    operands = ", ".join(bare(operand.text) for operand in (q, k, v))
    return Term(f"_attend({operands}, {attributes.scale!r}, {attributes.causal}{named})", q.dtype)


def _slice(file: Text, value: Value, x: Term) -> Term:
    bounds = value.attributes_as(Slice)
    stride = f":{bounds.stride}" if bounds.stride != 1 else ""
    return Term(f"{x.text}[{':, ' * bounds.axis}{bounds.start}:{bounds.stop}{stride}]", x.dtype)


def _pad(file: Text, value: Value, x: Term) -> Term:
    pad = value.attributes_as(Pad)
    return Term(
        f"_pad({bare(x.text)}, {pad.axes!r}, {pad.before!r}, {pad.after!r}, {pad.step!r}, {pad.fill!r})", x.dtype
    )


def _concat(file: Text, value: Value, *parts: Term) -> Term:
    operands = ", ".join(bare(part.text) for part in parts)
    return Term(f"np.concatenate([{operands}], axis={value.attributes_as(Axis).axis})", value.type.dtype)


def _einsum(file: Text, value: Value, x: Term, y: Term) -> Term:
    subscripts = value.attributes_as(Subscripts).subscripts
    if is_matmul(subscripts):
        return Term(f"({x.text} @ {y.text})", x.dtype)
    return Term(f"np.einsum({python_string(subscripts)}, {bare(x.text)}, {bare(y.text)}, optimize=True)", x.dtype)


def _argmax(file: Text, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    return Term(f"np.argmax({bare(x.text)}, {over[0]})", "i32")


def _running_sum(file: Text, value: Value, x: Term) -> Term:
    attributes = value.attributes_as(RunningSum)
    (axis,) = attributes.over
    if attributes.is_reversed:
        return Term(f"np.flip(np.cumsum(np.flip({bare(x.text)}, {axis}), {axis}), {axis})", x.dtype)
    return Term(f"np.cumsum({bare(x.text)}, {axis})", x.dtype)


def _from_steps(file: Text, value: Value, x: Term, position: Term) -> Term:
    size = value.attributes_as(StoredSteps).size
    return Term(f"_from_steps({bare(x.text)}, {position.text}, {file.samples}, {size})", x.dtype)


def _extent(file: Text, value: Value) -> Term:
    dims = value.attributes_as(Dims).dims
    return Term(f"{NUMPY_WORDS[value.type.dtype]}({' * '.join(file.dims(dims))})", value.type.dtype)


def _call(name: str, value: Value, *operands: Term) -> Term:
    """Calls a helper with the operands, and the value's attributes by keyword."""
    arguments = [bare(operand.text) for operand in operands]
    keywords = [f"{key}={attribute!r}" for key, attribute in value.keywords.items()]
    return Term(f"_{name}({', '.join([*arguments, *keywords])})", value.type.dtype)


FORMS: Mapping[str, Callable[..., Term]] = {
    "attend": _attend,
    "reshape": _reshape,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "einsum": _einsum,
    "argmax": _argmax,
    "cumsum": _running_sum,
    "from_steps": _from_steps,
    "extent": _extent,
    "relu": lambda file, value, x: Term(f"np.maximum({bare(x.text)}, 0)", x.dtype),
    "minimum": lambda file, value, x, y: Term(f"np.minimum({bare(x.text)}, {bare(y.text)})", value.type.dtype),
    "maximum": lambda file, value, x, y: Term(f"np.maximum({bare(x.text)}, {bare(y.text)})", value.type.dtype),
    "transpose": lambda file, value, x: Term(
        f"np.transpose({bare(x.text)}, {value.attributes_as(Order).order!r})", x.dtype
    ),
    "reverse": lambda file, value, x: Term(f"np.flip({bare(x.text)}, {value.attributes_as(Over).over!r})", x.dtype),
    "gather": lambda file, value, table, index: Term(f"{table.text}[{bare(index.text)}]", table.dtype),
    "to_steps": lambda file, value, x, row: Term(f"np.concatenate({bare(x.text)})[{bare(row.text)}]", x.dtype),
    "arange": lambda file, value: Term(f"np.arange({value.attributes_as(Count).n})", "i32"),
    "interleave": lambda file, value, *parts: Term(
        f"_interleave([{', '.join(part.text for part in parts)}], {value.attributes_as(Interleave).size!r})",
        value.type.dtype,
    ),
    **{
        name: lambda file, value, x, name=name: Term(
            f"np.{name}({bare(x.text)}, axis={value.attributes_as(Over).over!r})", x.dtype
        )
        for name in ("sum", "max", "min")
    },
    **{
        name: lambda file, value, x, name=name: Term(
            f"_{name}({bare(x.text)}, {value.attributes_as(Over).over[0]})", x.dtype
        )
        for name in ("softmax", "log_softmax", "logsumexp")
    },
    **{
        name: lambda file, value, *operands, name=name: _call(name, value, *operands)
        for name in ("conv2d", "conv2d_input", "maxpool2d", "avgpool2d", "window")
    },
    **{
        name: lambda file, value, x, index, combine=combine: Term(
            f"_scatter({combine}, {bare(x.text)}, {bare(index.text)}, {file.dim(value.type.dims[0])})", x.dtype
        )
        for name, combine in (("scatter_add", "np.add, 0"), ("segment_max", "np.maximum, -np.inf"))
    },
}
