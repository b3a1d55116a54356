"""The definition of element-wise operations, which broadcast as in NumPy.

A gradient is written as if all shapes were equal; `elementwise` then sums it to the shape of each operand. The
definitions are in elementwise.py and functions.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from netc.compiler.ir.attributes import attributes_class
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.types import Mismatch, Type, broadcast_dims
from netc.compiler.ir.value import Operation, Value, apply, register

Gradient = Callable[..., "Value | float | tuple[Value | float | None, ...] | None"]


def result_type(*types: Type, **_: Any) -> Type:
    """The broadcast type of the operands, with the element type of the floats among them, or else of the first operand.

    Raises Mismatch if both f32 and f64 occur.
    """
    dims = broadcast_dims(*[type_.dims for type_ in types])
    floats = {type_.dtype for type_ in types if type_.is_float}
    if len(floats) > 1:
        raise Mismatch("f32 and f64 do not mix without a cast", code="E0402")
    return Type(floats.pop() if floats else types[0].dtype, dims)


def float_type(*types: Type, **_: Any) -> Type:
    """The same as `result_type`; raises Mismatch if no operand is a float."""
    if not any(type_.is_float for type_ in types):
        raise Mismatch("needs a float", code="E0402")
    return result_type(*types)


def bool_type(*types: Type, **_: Any) -> Type:
    """A bool of the broadcast dimensions of the operands."""
    return Type("bool", broadcast_dims(*(type_.dims for type_ in types)))


def unbroadcast(gradient: "Value", like: Type) -> "Value":
    """Sums a gradient over the axes along which broadcasting repeated the operand, whose type is `like`."""
    rank, lead = gradient.type.rank, gradient.type.rank - like.rank
    repeated = tuple(
        axis for axis in range(rank) if axis < lead or (like.dims[axis - lead] == 1 and gradient.type.dims[axis] != 1)
    )
    summed = apply("sum", gradient, over=repeated) if repeated else gradient
    return summed if summed.type.dims == like.dims else apply("reshape", summed, dims=like.dims)


class Options(TypedDict, total=False):
    """The less common keyword arguments of an element-wise operation.

    `numbers` are its attributes with their defaults, `arguments` the names of its operands in the language (x, y, z).
    It cannot be called in a file unless `is_callable` (the default). Tests feed it elements of the type `dtype` (f64)
    from `domain` (-2 to 2), in operands of the types `shapes`, each as many as there are operands.
    """

    numbers: Mapping[str, float] | None
    arguments: tuple[str, ...]
    is_callable: bool
    dtype: str
    domain: tuple[float, float]
    shapes: Sequence[tuple[str, ...]]


def defined(
    name: str,
    doc: str,
    *,
    scalar: str,
    reference: Callable[..., Any],
    gradient: Gradient | None = None,
    operands: int = 1,
    type: Callable[..., Type] = float_type,
    **options: Unpack[Options],
) -> Operation:
    """Returns the definition of an element-wise operation of up to three operands x, y and z.

    `scalar` is a Python expression of x, y, z and the names of `numbers` (an option), with the functions of
    targets/cpu/math/. `reference` and `gradient` take the numbers by name; `gradient(g, result, x, y, z)` is written
    as if all shapes were equal. Raises TypeError if there is no such option.
    """
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"an element-wise operation has no option {', '.join(sorted(unknown))}")
    attributes = dict(options.get("numbers") or {})
    dtype = options.get("dtype", "f64")

    def full_gradient(g: Value, result: Value, *values: Value, **keywords: float) -> tuple[Value | None, ...]:
        assert gradient is not None
        parts = gradient(g, result, *values, **keywords)
        parts = parts if isinstance(parts, tuple) else (parts,)
        return tuple(
            unbroadcast(part, value.type) if isinstance(part, Value) and value.type.is_float else None
            for part, value in zip(parts, values, strict=True)
        )

    names = options.get("arguments", ("x", "y", "z"))[:operands]
    shapes = [(f"{dtype}[3, 4]",) * operands] + (
        [(f"{dtype}[batch, 3, 1]", f"{dtype}[4]", f"{dtype}[1, 4]")[:operands]] if operands > 1 else []
    )
    return Operation(
        name=name,
        doc=doc,
        type=type,
        reference=reference,
        lower=Scalar(scalar),
        arguments=dict.fromkeys(names, "value") | {key: f"real = {value!r}" for key, value in attributes.items()},
        gradient=full_gradient if gradient else None,
        examples=tuple((shape, dict(attributes)) for shape in options.get("shapes", shapes)),
        domain=options.get("domain", (-2.0, 2.0)),
        is_callable=options.get("is_callable", True),
        attributes=attributes_class(tuple(attributes)),
    )


def elementwise(name: str, doc: str, **definition: Any) -> Operation:
    """Defines an element-wise operation (see `defined`) and registers it, so that it is part of the language."""
    return register(defined(name, doc, **definition))


def choose(condition: Value, yes: "Value | float", no: "Value | float") -> Value:
    """Returns `yes` where the condition is true and `no` elsewhere."""
    return apply("where", condition, yes, no)
