"""The loops and names in the text of a kernel, as its vectorised form needs them (vectorise.py)."""

import ast
import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from netc.compiler.targets.emulator.texts import Form, accesses, linear


class NotVector(Exception):
    """The loops of the text cannot become axes."""


def loop_variable(loop: ast.For) -> str:
    if not isinstance(loop.target, ast.Name):
        raise NotVector
    return loop.target.id


def range_arguments(loop: ast.For) -> list[ast.expr]:
    """The arguments of the loop's range."""
    if not (isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Name) and loop.iter.func.id == "range"):
        raise NotVector
    return loop.iter.args


def assigned_name(node: ast.Assign) -> str:
    (target,) = node.targets
    if not isinstance(target, ast.Name):
        raise NotVector
    return target.id


def names_in(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def linear_form(node: ast.expr) -> Form:
    if (form := linear(node)) is None:
        raise NotVector
    return form


def limits_of(loops: Sequence[ast.For]) -> dict[str, int]:
    """The number that each loop variable stays below, of those variables for which the text says one."""
    stops: dict[str, list[ast.expr]] = {}
    for loop in loops:
        arguments = range_arguments(loop)
        stops.setdefault(loop_variable(loop), []).append(arguments[min(len(arguments), 2) - 1])
    numbers = {
        name: [stop.value for stop in ends if isinstance(stop, ast.Constant) and isinstance(stop.value, int)]
        for name, ends in stops.items()
    }
    return {name: max(limits) for name, limits in numbers.items() if len(limits) == len(stops[name])}


class PlacedOffset(Struct, frozen=True):
    """The offset of a load or store, and the loops around it."""

    form: Form
    loops: tuple[ast.For, ...]


def placed_accesses(body: Sequence[ast.stmt], loops: tuple[ast.For, ...] = ()) -> Iterator[tuple[str, PlacedOffset]]:
    """Yields the pointer and the place of each load and store."""
    for node in body:
        if isinstance(node, ast.For):
            yield from placed_accesses(node.body, (*loops, node))
        else:
            for access in accesses(node):
                yield access.pointer, PlacedOffset(linear_form(access.offset), loops)


def are_apart(first: PlacedOffset, second: PlacedOffset, limits: Mapping[str, int]) -> bool:
    """Whether two accesses meet at most in the same iteration of the loops around both.

    Otherwise they are at least `least` and at most `most` apart: too far for those variables of the loops that move by
    less, which together move by `span`, and too near for those that move by more.
    """
    shared = {loop_variable(loop) for loop, other in zip(first.loops, second.loops, strict=False) if loop is other}
    factors = {name: first.form[name] for name in shared if first.form.get(name)}
    if factors != {name: second.form[name] for name in shared if second.form.get(name)}:
        return False
    if not factors:  # neither moves in a loop around both, so such a loop is not an axis
        return True
    low = high = first.form.get("", 0) - second.form.get("", 0)
    for form, sign in ((first.form, 1), (second.form, -1)):
        for name in form.keys() - shared - {""}:
            if name not in limits:
                return False
            reach = sign * form[name] * (limits[name] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
    least, most = max(low, -high, 0), max(abs(low), abs(high))
    near = {name for name, factor in factors.items() if name in limits and abs(factor) <= most}
    span = sum(abs(factors[name]) * (limits[name] - 1) for name in near)
    far = math.gcd(*(factor for name, factor in factors.items() if name not in near))
    return (not near or span < least) and (far == 0 or far > most + span)


def exposed_and_assigned(body: Sequence[ast.stmt]) -> tuple[set[str], set[str]]:
    """The names that are read before they are surely assigned, and those that are assigned."""
    exposed: set[str] = set()
    sure: set[str] = set()
    assigned: set[str] = set()
    for node in body:
        if isinstance(node, ast.For):
            inner_exposed, inner_assigned = exposed_and_assigned(node.body)
            exposed |= (inner_exposed | set().union(*(names_in(limit) for limit in range_arguments(node)))) - sure
            assigned |= inner_assigned
        elif isinstance(node, ast.Assign):
            exposed |= names_in(node.value) - sure
            sure.add(assigned_name(node))
            assigned.add(assigned_name(node))
        else:
            exposed |= names_in(node) - sure
    return exposed, assigned


def is_accumulated(name: str, loop: ast.For) -> bool:
    """Whether a loop does nothing with a name but `name = expression of name`, once."""
    assignments = [node for node in ast.walk(loop) if isinstance(node, ast.Assign) and assigned_name(node) == name]
    reads = sum(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load) for node in ast.walk(loop)
    )
    reads_of_itself = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(assignments[0].value))
    return len(assignments) == 1 and reads == reads_of_itself >= 1
