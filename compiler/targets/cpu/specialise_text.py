"""Specialises the text of a kernel for a machine, before it is translated.

A text serves every machine: it names the number of lanes of a vector, `LANES_f32`, and may have branches for each:

    if 9 >= LANES_f32:                                   # never taken where a vector has 16 lanes
        for i1 in range(0, 9 // LANES_f32 * LANES_f32, LANES_f32):
            ...

Loops that call functions such as `exp` become loops of several vectors at a time where registers are few.
"""

import ast
from typing import Any

from netc.compiler.program.nests import LANES
from netc.compiler.targets.cpu.math.functions import LONG
from netc.compiler.targets.machine import Machine

_LANES = "LANES_"  # the numbers of lanes begin with it


def specialised(text: str, machine: Machine) -> ast.Module:
    """Returns a kernel's text for a machine: with its numbers of lanes, and without branches that it never takes."""
    module = ast.parse(text)
    if _LANES in text:
        _Specialised(machine).visit(module)
    if machine.interleaved > 1:
        for loop in _innermost_loops(module):
            if any(isinstance(node, ast.Name) and node.id in LONG for node in ast.walk(loop)):
                assert isinstance(loop.iter, ast.Call)
                loop.iter.keywords.append(ast.keyword("interleave", ast.Constant(machine.interleaved)))
    return module


def is_interleaved(module: ast.Module) -> bool:
    """Whether a specialised text has a loop of several vectors at a time."""
    return any(isinstance(node, ast.keyword) and node.arg == "interleave" for node in ast.walk(module))


def _innermost_loops(module: ast.Module) -> list[ast.For]:
    """The loops over ranges that contain no other loop."""
    loops = [node for node in ast.walk(module) if isinstance(node, ast.For)]
    return [loop for loop in loops if sum(isinstance(node, ast.For | ast.While) for node in ast.walk(loop)) == 1]


class _Specialised(ast.NodeTransformer):
    """Replaces numbers of lanes, and an `if` whose test depends on them alone by the branch that is taken."""

    def __init__(self, machine: Machine) -> None:
        self.lanes = {f"{_LANES}{dtype}": machine.lanes(dtype) for dtype in LANES}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.lanes[node.id]) if node.id in self.lanes else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        names = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
        if not names or not names <= self.lanes.keys():
            return self.generic_visit(node)
        taken = node.body if eval(ast.unparse(node.test), dict(self.lanes)) else node.orelse
        return [statement for part in taken for statement in _statements(self.visit(part))]


def _statements(visited: ast.AST | list[ast.stmt]) -> list[Any]:
    return visited if isinstance(visited, list) else [visited]
