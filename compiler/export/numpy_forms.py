"""Whole operations as a line of Python: shapes, products, reductions, gathers, images. Each takes the file, the value, and the text of its operands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from netc.compiler.export.scalar import Term
from netc.compiler.ir.attributes import Axis, Dims, Over
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.linear import Subscripts, is_matmul
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.scan import Room
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
    """The file: what dimensions, and the number of samples, are called at this place in it."""

    samples: str

    def dim(self, dim: Dim) -> str: ...

    def dims(self, dims: Sequence[Dim]) -> list[str]: ...


def bare(text: str) -> str:
    """A text without brackets around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for character in text[:-1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text
    return text[1:-1]


def _reshape(file: Text, value: Value, x: Term) -> Term:
    wanted = ["-1" if isinstance(dim, str) else str(int(dim)) for dim in value.type.dims]
    return Term(f"np.reshape({bare(x.text)}, ({', '.join(wanted)}{',' * (len(wanted) == 1)}))", x.dtype)


def _broadcast(file: Text, value: Value, x: Term) -> Term:
    dims = file.dims(value.type.dims)
    return Term(f"np.broadcast_to({bare(x.text)}, ({', '.join(dims)}{',' * (len(dims) == 1)}))", x.dtype)


def _slice(file: Text, value: Value, x: Term) -> Term:
    own = value.attributes_as(Slice)
    where = ":, " * own.axis + f"{own.start}:{own.stop}" + (f":{own.stride}" if own.stride != 1 else "")
    return Term(f"{x.text}[{where}]", x.dtype)


def _pad(file: Text, value: Value, x: Term) -> Term:
    own = value.attributes_as(Pad)
    return Term(
        f"_pad({bare(x.text)}, {own.axes!r}, {own.before!r}, {own.after!r}, {own.step!r}, {own.fill!r})", x.dtype
    )


def _concat(file: Text, value: Value, *parts: Term) -> Term:
    own = ", ".join(bare(part.text) for part in parts)
    return Term(f"np.concatenate([{own}], axis={value.attributes_as(Axis).axis})", value.type.dtype)


def _einsum(file: Text, value: Value, x: Term, y: Term) -> Term:
    subscripts = value.attributes_as(Subscripts).subscripts
    if is_matmul(subscripts):
        return Term(f"({x.text} @ {y.text})", x.dtype)
    return Term(f"np.einsum({python_string(subscripts)}, {bare(x.text)}, {bare(y.text)}, optimize=True)", x.dtype)


def _argmax(file: Text, value: Value, x: Term) -> Term:
    over = value.attributes_as(Over).over
    return Term(f"np.argmax({bare(x.text)}, {over[0]})", "i32")


def _from_steps(file: Text, value: Value, x: Term, place: Term) -> Term:
    return Term(f"_from_steps({bare(x.text)}, {place.text}, {file.samples}, {value.attributes_as(Room).size})", x.dtype)


def _extent(file: Text, value: Value) -> Term:
    dims = value.attributes_as(Dims).dims
    return Term(f"{NUMPY_WORDS[value.type.dtype]}({' * '.join(file.dims(dims))})", value.type.dtype)


FORMS: Mapping[str, Callable[..., Term]] = {
    "reshape": _reshape,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "einsum": _einsum,
    "argmax": _argmax,
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
    "to_steps": lambda file, value, x, place: Term(f"np.concatenate({bare(x.text)})[{bare(place.text)}]", x.dtype),
    "arange": lambda file, value: Term(f"np.arange({value.attributes_as(Count).n})", "i32"),
    "interleave": lambda file, value, *parts: Term(
        f"_interleave([{', '.join(one.text for one in parts)}], {value.attributes_as(Interleave).size!r})",
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
        name: lambda file, value, *operands, name=name: Term(
            f"_{name}({', '.join([*(bare(one.text) for one in operands), *(f'{key}={item!r}' for key, item in value.keywords.items())])})",
            value.type.dtype,
        )
        for name in ("conv2d", "conv2d_input", "maxpool2d", "avgpool2d", "window")
    },
    **{
        name: lambda file, value, x, index, combine=combine: Term(
            f"_scatter({combine}, {bare(x.text)}, {bare(index.text)}, {file.dim(value.type.dims[0])})", x.dtype
        )
        for name, combine in (("scatter_add", "np.add, 0"), ("segment_max", "np.maximum, -np.inf"))
    },
}
