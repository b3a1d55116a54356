"""Says in words why two values are not computed by one loop (`netc explain --fusion`)."""

from collections.abc import Iterator

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.lowering.units import MOST_BUFFERS, Fusion, walked_by


def readers(fusion: Fusion, value: Value) -> Iterator[Value]:
    """Yields the values that read a value, directly or through views of it."""
    pending = list(reversed(fusion.users[value]))
    while pending:
        user = pending.pop()
        if isinstance(user.lower, View):
            pending += reversed(fusion.users[user])
        else:
            yield user


def why_apart(fusion: Fusion, value: Value, user: Value) -> str:
    """Explains in words why a value is kept in memory for a user instead of being computed in the user's loop."""
    lower, reader = value.lower, user.lower
    if user.role is Role.CONTRACTION:
        return "the register tile reads it from memory"
    if not isinstance(reader, Scalar | Fold):
        return f"`{user.operation}` reads it from memory"
    if value.role is Role.CONTRACTION or value in fusion.starts:
        return "the register tile writes it to memory"
    if isinstance(lower, Fold):
        return "it has to be whole before it is read"
    if not isinstance(lower, Scalar):
        return f"`{value.operation}` writes it to memory"
    space = walked_by(user)
    if space != value.type.dims:
        return f"its reader walks {_dims(space)}, it walks {_dims(value.type.dims)}"
    over = user.attributes_as(Over).over if isinstance(reader, Fold) else ()
    if over and over != tuple(range(len(space) - len(over), len(space))):
        return "its reader sums over the first axes, row by row"
    unit, user_unit = fusion.unit_of.get(value), fusion.unit_of.get(user)
    if unit is not None and user_unit is not None:
        if len(unit.reads | user_unit.reads | {*unit.values, *user_unit.values}) > MOST_BUFFERS:
            return f"one loop has {MOST_BUFFERS} buffers at most"
        if unit.folded and user_unit.folded and unit.folded != user_unit.folded:
            return "the two loops sum over different axes"
    return "what stands between them has to come first"


def _dims(space: tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(str, space))}]"
