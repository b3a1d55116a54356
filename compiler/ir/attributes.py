"""The attributes of a value: the arguments of its operation besides the operands, as a frozen dataclass.

The operation declares the class. Similar operations share a class (`Over`, `Dims`); a class that only one operation
uses is defined next to that operation. An absent field is None: it is neither printed nor passed to the operation's
rules. Knows no value and no graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache
from typing import Any

from netc.compiler.ir.types import Dim, DTypeName


class Nested:
    """A graph that is an attribute of a value (graph.Body)."""


Attribute = int | float | bool | str | tuple[Any, ...] | Nested


@dataclass(frozen=True, slots=True)
class Attributes:
    """The base of all attributes, and the class for operations without any.

    It has no methods, so that a plug-in's operation may give its attributes any names.
    """


@dataclass(frozen=True, slots=True)
class Named(Attributes):
    """The name of a leaf."""

    name: str


@dataclass(frozen=True, slots=True)
class Given(Named):
    """A leaf that the runtime computes.

    `per` is "step" if it has a new value for each training step, and "batch" if it has the rows of the batch, in order.
    """

    per: str | None = None


@dataclass(frozen=True, slots=True)
class Constant(Attributes):
    """The value of a constant."""

    value: int | float | bool


@dataclass(frozen=True, slots=True)
class Over(Attributes):
    """The axes that an operation runs along, counted over all dimensions."""

    over: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis(Attributes):
    """The axis along which values are joined."""

    axis: int


@dataclass(frozen=True, slots=True)
class Dims(Attributes):
    """The dimensions of the result of a `reshape` or a `broadcast`, or those that an `extent` counts."""

    dims: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class ElementType(Attributes):
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
        names = _NAMES[kind] = tuple(field.name for field in fields(kind))
    return {name: item for name in names if (item := getattr(attributes, name)) is not None}


@cache
def attributes_class(names: tuple[str, ...]) -> type[Attributes]:
    """Makes a class with these fields, for operations that declare none, such as those of plug-ins.

    It extends `Over` or `Dims` if it has their field, so that passes read the axes of such a reduction.
    """
    base = next((kind for kind in (Over, Dims) if fields(kind)[0].name in names), Attributes)
    added = [(name, Any) for name in names if name not in {field.name for field in fields(base)}]
    return make_dataclass("Named", added, bases=(base,), frozen=True, slots=True) if added else base
