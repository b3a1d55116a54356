"""The loops and names in the text of a kernel, as its vectorised form needs them (vectorise.py)."""

import ast
from collections.abc import Sequence

from netc.compiler.targets.emulator.texts import Form, linear


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
    own = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(assignments[0].value))
    return len(assignments) == 1 and reads == own >= 1
