"""Dataclasses of netc do the same as those of the standard library."""

import copy
import dataclasses
import inspect
import pickle
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from netc.compiler.ir.types import parse_type
from netc.dsl.dataclasses import dataclass

T = TypeVar("T")
Decorator = Callable[..., Callable[[type], Any]]


def classes(decorator: Decorator, frozen: bool) -> dict[str, Any]:
    """Classes with each thing that a dataclass may have, made by a decorator."""

    @decorator(slots=True, frozen=frozen)
    class Empty:
        """No field."""

    @decorator(slots=True, frozen=frozen)
    class Single:
        """A field, whose name is that of no variable of a method."""

        self_: float

    @decorator(slots=True, frozen=frozen)
    class Point:
        """Fields with and without defaults."""

        x: int
        y: "list[int]"
        z: float = 1.5
        names: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
        COUNT: ClassVar[int] = 3

        def total(self) -> float:
            """A method."""
            return self.x + self.z

    @decorator(slots=True, frozen=frozen)
    class Wider(Point):
        """A field more, and another default."""

        z: float = 2.5
        w: str = dataclasses.field(default="w", repr=False)

    @decorator(slots=True, frozen=frozen)
    class After:
        """Fields that are no parameters."""

        x: int
        doubled: int = dataclasses.field(init=False)
        items: list[int] = dataclasses.field(init=False, default_factory=list)
        fixed: int = dataclasses.field(init=False, default=7)

        def __post_init__(self) -> None:
            object.__setattr__(self, "doubled", 2 * self.x)

    @decorator(slots=True, frozen=frozen, eq=False)
    class Same:
        """Equal only to itself."""

        x: int

    @decorator(slots=True, frozen=frozen, repr=False, weakref_slot=True)
    class Own:
        """Methods of its own."""

        x: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.x % 2 == other.x % 2

        def __hash__(self) -> int:
            return self.x % 2

    @decorator(slots=True, frozen=frozen)
    class Of(Generic[T]):
        """A generic class."""

        item: T

    return {kind.__name__: kind for kind in (Empty, Single, Point, Wider, After, Same, Own, Of)}


ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "Empty": [()],
    "Single": [(1,), (float("nan"),)],
    "Point": [(1, [2]), (1, [2], 3.0), (1, [2], 3.0, {"a": 1}), (1, [2], 1.5, {"b": 1})],
    "Wider": [(1, [2]), (1, [2], 3.0, {}, "v"), (1, [2], 2.5, {}, "v")],
    "After": [(1,), (2,)],
    "Same": [(1,), (1,)],
    "Own": [(1,), (2,), (3,)],
    "Of": [(1,), ("a",)],
}
NAMES = list(ARGUMENTS)


@pytest.fixture(params=[False, True], ids=["mutable", "frozen"])
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The classes by netc and by the standard library."""
    return classes(dataclass, request.param), classes(dataclasses.dataclass, request.param)


def outcome(function: Callable[[], Any]) -> Any:
    """What a function returns, or the type and message of what it raises."""
    try:
        return function()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", NAMES)
def test_objects_are_printed_compared_and_hashed_as_those_of_the_standard_library(
    pair: tuple[dict[str, Any], dict[str, Any]], name: str
) -> None:
    mine, theirs = ([kind[name](*each) for each in ARGUMENTS[name]] for kind in pair)
    own, standard = pair[0][name], pair[1][name]
    if name != "Same":
        assert [outcome(lambda: hash(a)) for a in mine] == [outcome(lambda: hash(b)) for b in theirs]  # noqa: B023
    assert [repr(a) for a in mine] == [repr(b) for b in theirs] or name == "Same"
    assert [[a == b for a in mine] for b in mine] == [[a == b for a in theirs] for b in theirs]
    assert mine[0] != theirs[0] or name == "Own"
    assert own.__match_args__ == standard.__match_args__
    assert own.__slots__ == standard.__slots__
    assert [(f.name, f.type, f.default) for f in dataclasses.fields(own)] == [
        (f.name, f.type, f.default) for f in dataclasses.fields(standard)
    ]
    assert str(inspect.signature(own)) == str(inspect.signature(standard))
    assert own.__doc__ == standard.__doc__
    assert own.__qualname__ == standard.__qualname__
    assert own.__init__.__qualname__ == standard.__init__.__qualname__
    for a, b in zip(mine, theirs, strict=True):
        for field in dataclasses.fields(standard):
            assert outcome(lambda: setattr(a, field.name, 5)) == outcome(lambda: setattr(b, field.name, 5))  # noqa: B023
            assert outcome(lambda: delattr(a, field.name)) == outcome(lambda: delattr(b, field.name))  # noqa: B023
        for change in (lambda: setattr(a, "absent", 5), lambda: delattr(a, "absent")):  # noqa: B023
            with pytest.raises(AttributeError):
                change()


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arguments_are_refused(pair: tuple[dict[str, Any], dict[str, Any]], name: str) -> None:
    for arguments in [(), (1, 2, 3, 4, 5, 6, 7)]:
        mine, theirs = (outcome(lambda: repr(kind[name](*arguments))) for kind in pair)  # noqa: B023
        assert mine == theirs


def test_copies_are_equal_and_independent(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for kind in pair:
        point = kind["Point"](1, [2], names={"a": 1})
        assert copy.copy(point) == point
        assert copy.deepcopy(point) == point
        assert copy.deepcopy(point).y is not point.y
        assert dataclasses.replace(point, x=4) == kind["Point"](4, [2])
        assert dataclasses.asdict(point) == {"x": 1, "y": [2], "z": 1.5, "names": {"a": 1}}
        assert point.total() == 2.5
        assert point.COUNT == 3
        assert kind["Point"](1, []).names is not kind["Point"](1, []).names
        wider_class = kind["Wider"]
        match kind["Wider"](1, [2], w="v"):
            case wider_class(1, _, z, _, w):
                assert (z, w) == (2.5, "v")
            case _:
                pytest.fail("a class has its fields as positional patterns")
        after = kind["After"](3)
        assert (after.doubled, after.items, after.fixed) == (6, [], 7)
        own = kind["Own"](1)
        assert weakref.ref(own)() is own


def test_an_object_that_contains_itself_is_printed(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    printed = []
    for kind in pair:
        point = kind["Point"](1, [])
        point.y.append(point)
        printed.append(repr(point))
    assert printed[0] == printed[1]


def test_a_class_of_the_standard_library_may_extend_a_frozen_one() -> None:
    @dataclass(frozen=True, slots=True)
    class Base:
        x: int

    @dataclasses.dataclass(frozen=True, slots=True)
    class Extended(Base):
        y: int

    assert Extended(1, 2) == Extended(1, 2)
    assert repr(Extended(1, 2)).endswith("Extended(x=1, y=2)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Extended(1, 2).x = 3  # type: ignore[misc]


def test_a_class_without_dataclass_may_have_attributes_of_its_own() -> None:
    @dataclass(frozen=True, slots=True)
    class Base:
        x: int

    class Open(Base):
        """Instances have a dict."""

    extended = Open(1)
    extended.note = "a"  # type: ignore[attr-defined]
    del extended.note  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        extended.x = 2  # type: ignore[misc]


def test_a_frozen_class_can_be_pickled() -> None:
    type_ = parse_type("f32[3, 4]")
    assert pickle.loads(pickle.dumps(type_)) == type_
