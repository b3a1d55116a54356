"""The attributes of a value: the arguments of its operation besides the operands, as a frozen Struct.

The operation declares the class. Similar operations share a class (`Over`, `Dims`); a class that only one operation
uses is defined next to that operation. An absent field is None: it is neither printed nor passed to the operation's
rules. Knows no value and no graph.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from msgspec import Struct, defstruct

from netc.compiler.ir.types import Dim, DTypeName


class Nested:
    """A graph that is an attribute of a value (graph.Body)."""


Attribute = int | float | bool | str | tuple[Any, ...] | Nested


class Attributes(Struct, frozen=True):
    """The base of all attributes, and the class for operations without any.

    It has no methods, so that a plug-in's operation may give its attributes any names.
    """


class Named(Attributes, frozen=True):
    """The name of a leaf."""

    name: str


class Given(Named, frozen=True):
    """A leaf that the runtime computes.

    `per` is "step" if it has a new value for each training step, and "batch" if it has the rows of the batch, in order.
    """

    per: str | None = None


class Constant(Attributes, frozen=True):
    """The value of a constant."""

    value: int | float | bool


class Over(Attributes, frozen=True):
    """The axes that an operation runs along, counted over all dimensions."""

    over: tuple[int, ...]


class Axis(Attributes, frozen=True):
    """The axis along which values are joined."""

    axis: int


class Dims(Attributes, frozen=True):
    """The dimensions of the result of a `reshape` or a `broadcast`, or those that an `extent` counts."""

    dims: tuple[Dim, ...]


class ElementType(Attributes, frozen=True):
    """The element type of the result."""

    dtype: DTypeName


LEAVES: Mapping[str, type[Attributes]] = {
    "input": Named,
    "target": Named,
    "parameter": Named,
    "state": Named,
    "given": Given,
    "constant": Constant,
    "training": Attributes,
}


_NAMES: dict[type, tuple[str, ...]] = {}  # of fields, by class: `keywords_of` is called for every value


def keywords_of(attributes: Attributes) -> dict[str, Any]:
    """The attributes that are present, by name, in the order of their declaration.

    An operation's rules take them as keyword arguments, and graphs print them in this order.
    """
    kind = type(attributes)
    if (names := _NAMES.get(kind)) is None:
        names = _NAMES[kind] = kind.__struct_fields__
    return {name: item for name in names if (item := getattr(attributes, name)) is not None}


@cache
def attributes_class(names: tuple[str, ...]) -> type[Attributes]:
    """Makes a class with these fields, for operations that declare none, such as those of plug-ins.

    It extends `Over` or `Dims` if it has their field, so that passes read the axes of such a reduction.
    """
    base = next((kind for kind in (Over, Dims) if kind.__struct_fields__[0] in names), Attributes)
    added = [(name, Any) for name in names if name not in base.__struct_fields__]
    if not added:
        return base
    extended = defstruct("Named", added, bases=(base,), frozen=True)
    assert issubclass(extended, Attributes)
    return extended
