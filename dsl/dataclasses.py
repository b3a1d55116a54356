"""Dataclasses with slots, made several times as quickly as by the standard library.

netc has some hundreds of them, and the standard library compiles up to six methods for each: a quarter of the time in
which a command starts. Here `__init__` is compiled alone, and the others are closures. A class does the same as one of
the standard library; type checkers, `fields`, `replace` and `asdict` see no difference.
"""

import dataclasses as standard
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError
from inspect import get_annotations
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_Method = Callable[..., Any]
_Fields = dict[str, "Field[Any]"]


class _Factory:
    """The default of a parameter whose value is made for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_ABSENT = _Factory()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(class_=None, /, *, slots=False, frozen=False, eq=True, repr=True, **others):
        """Makes a class a dataclass: see `dataclasses.dataclass`, which makes those without slots."""
        if slots:
            return lambda class_: _slotted(class_, frozen, eq, repr, **others)
        return standard.dataclass(class_, frozen=frozen, eq=eq, repr=repr, **others)


def _slotted(class_: type, is_frozen: bool, has_eq: bool, has_repr: bool, weakref_slot: bool = False) -> type:
    """A class with the members of another one, a slot for each field, and the methods of a dataclass."""
    bases: list[Any] = [base for base in class_.__mro__[:0:-1] if standard.is_dataclass(base)]
    assert all(base.__dataclass_params__.frozen == is_frozen for base in bases), (
        f"{class_} and its bases: frozen or not"
    )
    declared = _declared(class_)
    fields = {field.name: field for part in (*bases, declared) for field in standard.fields(part)}
    assert not any(field.kw_only for field in fields.values()), f"{class_} has fields without a position"

    apart = {"__dict__", "__weakref__", *fields}
    members: dict[str, Any] = {name: member for name, member in class_.__dict__.items() if name not in apart}
    taken = {slot for base in class_.__mro__[1:] for slot in base.__dict__.get("__slots__", ())}
    slots = [*fields, "__weakref__"] if weakref_slot else [*fields]
    members["__slots__"] = tuple(slot for slot in slots if slot not in taken)
    members["__dataclass_params__"] = _PARAMETERS[is_frozen]
    members["__dataclass_fields__"] = {
        name: field for part in (*bases, declared) for name, field in part.__dataclass_fields__.items()
    }
    members.setdefault("__match_args__", tuple(field.name for field in fields.values() if field.init))
    slotted: Any = type(class_)(class_.__name__, class_.__bases__, members)
    slotted.__qualname__ = class_.__qualname__
    for name, method in _methods(slotted, fields, is_frozen, has_eq, has_repr):
        if members.get(name) is None:  # a class with `__eq__` has None as its `__hash__`
            setattr(slotted, name, method)
    return slotted  # type: ignore[no-any-return]  # a type, to which attributes were added


def _declared(class_: type) -> Any:
    """A dataclass without methods whose fields are those that a class declares itself."""
    annotations = get_annotations(class_)
    members = {name: class_.__dict__[name] for name in annotations if name in class_.__dict__}
    head = {"__module__": class_.__module__, "__doc__": class_.__name__, "__annotations__": annotations}
    return standard.dataclass(init=False, repr=False, eq=False, match_args=False)(type("Fields", (), members | head))


def _methods(
    class_: type, fields: _Fields, is_frozen: bool, has_eq: bool, has_repr: bool
) -> Iterator[tuple[str, _Method | None]]:
    """The methods of a dataclass, by name."""
    yield "__init__", _init(class_, fields, is_frozen)
    if has_repr:
        yield "__repr__", _repr([field.name for field in fields.values() if field.repr])
    if has_eq:
        compared = [field.name for field in fields.values() if field.compare]
        yield "__eq__", _eq(class_, compared)
        yield "__hash__", _hash(class_, compared) if is_frozen else None
    if is_frozen:
        yield "__setattr__", _refusal(class_, fields, "assign to", "__setattr__")
        yield "__delattr__", _refusal(class_, fields, "delete", "__delattr__")
        yield "__getstate__", _getstate
        yield "__setstate__", _setstate


def _init(class_: type, fields: _Fields, is_frozen: bool) -> _Method:
    """`__init__`. In a frozen class it fills the slots by their descriptors, because assignments are refused."""
    scope: dict[str, Any] = {"_ABSENT": _ABSENT}
    parameters, lines = ["self"], []
    for name, field in fields.items():
        value = name
        if field.default_factory is not MISSING:
            scope[f"_new_{name}"] = field.default_factory
            value = f"_new_{name}()"
            if field.init:
                parameters.append(f"{name}=_ABSENT")
                value = f"{value} if {name} is _ABSENT else {name}"
        elif field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            if field.init:
                parameters.append(f"{name}=_default_{name}")
            else:
                value = f"_default_{name}"
        elif field.init:
            parameters.append(name)
        else:
            continue
        if is_frozen:
            scope[f"_set_{name}"] = getattr(class_, name).__set__
        lines.append(f" _set_{name}(self, {value})" if is_frozen else f" self.{name} = {value}")
    if hasattr(class_, "__post_init__"):
        lines.append(" self.__post_init__()")
    head = f"__init__({', '.join(parameters)}):"
    init = _compiled(class_, "\n".join([head, *(lines or [" pass"])]), scope)
    init.__annotations__ = {name: field.type for name, field in fields.items() if field.init} | {"return": None}
    return init


def _repr(names: list[str]) -> _Method:
    @recursive_repr()
    def __repr__(self: Any) -> str:
        parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({parts})"

    return __repr__


def _eq(class_: Any, names: list[str]) -> _Method:
    """`__eq__`, which is compiled when it is first called: hardly any objects are compared."""

    def compare(self: Any, other: Any) -> Any:
        mine, others = (_tuple(instance, names) for instance in ("self", "other"))
        body = f"return {mine} == {others} if other.__class__ is self.__class__ else NotImplemented"
        method = class_.__eq__ = _compiled(class_, f"__eq__(self, other): {body}", {})
        return method(self, other)

    return compare


def _hash(class_: Any, names: list[str]) -> _Method:
    """`__hash__`, which is compiled when it is first called."""

    def compute(self: Any) -> Any:
        method = class_.__hash__ = _compiled(class_, f"__hash__(self): return hash({_tuple('self', names)})", {})
        return method(self)

    return compute


def _tuple(instance: str, names: list[str]) -> str:
    return f"({''.join(f'{instance}.{name}, ' for name in names)})"


def _compiled(class_: type, text: str, scope: dict[str, Any]) -> _Method:
    """A method of a class from its text. `scope` has what it reads besides its arguments."""
    exec(f"def {text}", scope)
    method: _Method = scope[text[: text.index("(")]]
    method.__qualname__ = f"{class_.__qualname__}.{method.__name__}"
    return method


def _refusal(class_: type, fields: _Fields, verb: str, method: str) -> _Method:
    """The method of a frozen class that would assign or delete an attribute. Subclasses may have other attributes."""

    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is class_ or name in fields:
            raise FrozenInstanceError(f"cannot {verb} field {name!r}")
        getattr(super(class_, self), method)(name, *value)

    return refuse


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in standard.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for field, value in zip(standard.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


@standard.dataclass
class _Plain:
    pass


@standard.dataclass(frozen=True)
class _Frozen:
    pass


# What the standard library asks of a base class is whether it is frozen.
_KINDS: dict[bool, Any] = {False: _Plain, True: _Frozen}
_PARAMETERS = {is_frozen: kind.__dataclass_params__ for is_frozen, kind in _KINDS.items()}
