"""The inputs that a program starts with, of every kind of type."""

from collections.abc import Callable

from tests.programs.growth import Growth
from tests.programs.program import Statement
from tests.programs.values import Steps, Type, floats


def _vector(g: Growth) -> Type:
    return floats(g.size())


def _number(g: Growth) -> Type:
    return floats()


def _matrix(g: Growth) -> Type:
    return floats(g.size(17), g.size(17))


def _image(g: Growth) -> Type:
    return floats(
        g.draw.choice((3, 4, 5, 6, 7, 8, 9)), g.draw.choice((3, 4, 5, 6, 7, 8)), g.draw.choice((1, 1, 2, 3, 4))
    )


def _line(g: Growth) -> Type:
    return floats(g.draw.choice((3, 5, 8, 9, 16, 17)), g.draw.choice((1, 2, 3, 5, 8)))


def _sequence(g: Growth) -> Type:
    return floats(_steps(g), g.size(17))


def _numbers(g: Growth) -> Type:
    return floats(_steps(g))


def _tokens(g: Growth) -> Type:
    return Type("class", (_steps(g),), g.draw.choice((2, 3, 5, 9, 17)))


def _label(g: Growth) -> Type:
    return Type("class", (), g.draw.choice((2, 3, 5, 8, 33)))


def _labels(g: Growth) -> Type:
    return Type("class", (g.draw.choice((1, 2, 3, 5)),), g.draw.choice((2, 3, 5, 9)))


def _ids(g: Growth) -> Type:
    """Labels of so many classes that a batch looks up a few of them."""
    return Type("class", g.draw.choice(((), (), (2,))), g.draw.choice((165, 330)))


def _bools(g: Growth) -> Type:
    return Type("bool", (g.size(17),) if g.chance(0.8) else ())


def _steps(g: Growth) -> Steps:
    """A varying dimension: an existing one or a new one, written `time <= 9` where it has a bound."""
    present = sorted(g.shared.least)
    if present and (len(present) == 2 or g.chance(0.6)):
        name = g.draw.choice(present)
    else:
        name = ("time", "s")[len(present)]
        g.shared.least[name] = 1
        if g.chance(0.6):
            g.shared.bounds[name] = g.draw.choice((5, 6, 8, 9))
    g.feature("varying dimension")
    return Steps(name, name)


INPUTS: dict[Callable[[Growth], Type], float] = {
    _vector: 4,
    _number: 1,
    _matrix: 1.5,
    _image: 2.5,
    _line: 1,
    _sequence: 3,
    _numbers: 0.7,
    _tokens: 1.5,
    _label: 1,
    _labels: 0.7,
    _ids: 2,
    _bools: 0.5,
}


def inputs(g: Growth) -> None:
    """Adds one to three inputs. At least one is a float, or a label that a layer may take."""
    count = g.draw.choice((1, 1, 1, 2, 2, 3))
    while count > 0:
        kind = g.draw.choices(list(INPUTS), list(INPUTS.values()))[0]
        type_ = kind(g)
        if not type_.count or type_.count > g.profile.elements:
            continue
        name = g.new_name("x")
        g.add(Statement("input", (name,), "", (), (type_,)))
        g.reserved.add(name)
        value = g.define(
            name, type_, is_batched=True, scale=2.5 if type_.is_float else 1.0, is_discrete=not type_.is_float
        )
        g.shared.inputs.add(value.number)
        count -= 1
