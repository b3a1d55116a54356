"""Dataclasses with slots, made many times as quickly as by the standard library.

netc has some hundreds of them, and the standard library compiles up to six methods for each: a quarter of the time in
which a command starts. Here a method is compiled when it is first used. A class does the same as one of the standard
library; type checkers, `fields`, `replace` and `asdict` see no difference.
"""

import dataclasses as standard
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from functools import partial
from inspect import get_annotations
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

_Fields = dict[str, "Field[Any]"]

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(class_=None, /, *, slots=False, frozen=False, eq=True, repr=True, **others):
        """Makes a class a dataclass: see `dataclasses.dataclass`, which makes those without slots."""
        if slots:
            return lambda class_: _slotted(class_, frozen, eq, repr, **others)
        return standard.dataclass(class_, frozen=frozen, eq=eq, repr=repr, **others)


class _Lazy:
    """An attribute of a class that is made when it is first asked for."""

    def __init__(self, make: Callable[[type], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type) -> Any:
        attribute = self._make(self._owner)
        setattr(self._owner, self._name, attribute)
        return attribute.__get__(instance, owner) if callable(attribute) else attribute


class _Factory:
    """The default of a parameter whose value is made for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_ABSENT = _Factory()


def _slotted(class_: type, is_frozen: bool, has_eq: bool, has_repr: bool, weakref_slot: bool = False) -> type:
    """A class with the members of another one, a slot for each field, and the methods of a dataclass."""
    bases: list[Any] = [base for base in class_.__mro__[:0:-1] if standard.is_dataclass(base)]
    assert all(base.__dataclass_params__.frozen == is_frozen for base in bases), f"bases of {class_}"
    annotations = get_annotations(class_)
    names = {
        **{field.name: None for base in bases for field in standard.fields(base)},
        **{name: None for name, type_ in annotations.items() if not _is_of_class(type_)},
    }
    apart = {"__dict__", "__weakref__", *names}
    members: dict[str, Any] = {name: member for name, member in class_.__dict__.items() if name not in apart}
    taken = {slot for base in class_.__mro__[1:] for slot in base.__dict__.get("__slots__", ())}
    slots = [*names, "__weakref__"] if weakref_slot else names
    members["__slots__"] = tuple(slot for slot in slots if slot not in taken)
    members["__dataclass_params__"] = _PARAMETERS[is_frozen]
    members["__dataclass_fields__"] = _Lazy(lambda _: _fields(class_, bases))
    members.setdefault("__match_args__", _Lazy(_match_args))
    members.setdefault("__init__", _Lazy(partial(_init, is_frozen=is_frozen)))
    if has_repr:
        members.setdefault("__repr__", _Lazy(_repr))
    if has_eq:
        if members.get("__hash__") is None:  # as in a class with an `__eq__` of its own
            members["__hash__"] = _Lazy(_hash) if is_frozen else None
        members.setdefault("__eq__", _Lazy(_eq))
    if is_frozen:
        members.setdefault("__getstate__", _getstate)
        members.setdefault("__setstate__", _setstate)
    slotted: Any = type(class_)(class_.__name__, class_.__bases__, members)
    slotted.__qualname__ = class_.__qualname__
    if is_frozen:
        slotted.__setattr__ = _refusal(slotted, names, "assign to", "__setattr__")
        slotted.__delattr__ = _refusal(slotted, names, "delete", "__delattr__")
    return slotted  # type: ignore[no-any-return]  # a type, to which attributes were added


def _is_of_class(annotation: object) -> bool:
    """Whether an annotation declares an attribute of the class, which is no field."""
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _fields(class_: type, bases: list[Any]) -> _Fields:
    """The fields of a class without slots, which still has their defaults, and of its bases."""
    annotations = get_annotations(class_)
    members = {name: class_.__dict__[name] for name in annotations if name in class_.__dict__}
    head = {"__module__": class_.__module__, "__doc__": class_.__name__, "__annotations__": annotations}
    plain = standard.dataclass(init=False, repr=False, eq=False, match_args=False)
    declared: Any = plain(type("Fields", (), {**members, **head}))
    fields = {name: field for part in (*bases, declared) for name, field in part.__dataclass_fields__.items()}
    assert not any(field.kw_only is True for field in fields.values()), f"{class_} has fields without a position"
    return fields


def _match_args(class_: type) -> tuple[str, ...]:
    return tuple(field.name for field in _fields_of(class_) if field.init)


def _fields_of(class_: Any) -> tuple["Field[Any]", ...]:
    return standard.fields(class_)


def _init(class_: type, is_frozen: bool) -> Callable[..., None]:
    """`__init__`. In a frozen class it fills the slots by their descriptors, because assignments are refused."""
    scope: dict[str, Any] = {"_ABSENT": _ABSENT}
    parameters, lines, annotations = ["self"], [], dict[str, Any]()
    for field in _fields_of(class_):
        name = value = field.name
        if field.init:
            annotations[name] = field.type
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
    init = _compiled(class_, "\n".join([f"__init__({', '.join(parameters)}):", *(lines or [" pass"])]), scope)
    init.__annotations__ = {**annotations, "return": None}
    return init


def _repr(class_: type) -> Callable[[object], str]:
    names = [field.name for field in _fields_of(class_) if field.repr]

    @recursive_repr()
    def __repr__(self: object) -> str:
        parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({parts})"

    return __repr__


def _eq(class_: type) -> Callable[..., Any]:
    mine, others = (_compared(class_, instance) for instance in ("self", "other"))
    body = f"return {mine} == {others} if other.__class__ is self.__class__ else NotImplemented"
    return _compiled(class_, f"__eq__(self, other): {body}", {})


def _hash(class_: type) -> Callable[..., Any]:
    return _compiled(class_, f"__hash__(self): return hash({_compared(class_, 'self')})", {})


def _compared(class_: type, instance: str) -> str:
    """A tuple of the fields by which objects are compared, as an expression."""
    return f"({''.join(f'{instance}.{field.name}, ' for field in _fields_of(class_) if field.compare)})"


def _compiled(class_: type, text: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """A method of a class from its text. `scope` has what it reads besides its arguments."""
    exec(f"def {text}", scope)
    method: Callable[..., Any] = scope[text[: text.index("(")]]
    method.__qualname__ = f"{class_.__qualname__}.{method.__name__}"
    return method


def _refusal(class_: type, names: dict[str, None], verb: str, method: str) -> Callable[..., None]:
    """The method of a frozen class that would assign or delete an attribute. Subclasses may have other attributes."""

    def refuse(self: object, name: str, *value: object) -> None:
        if type(self) is class_ or name in names:
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
