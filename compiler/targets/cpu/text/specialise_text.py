"""Specialises the text of a kernel for a machine, before it is translated.

A text serves every machine: it names the number of lanes of a vector, `LANES_f32`, and may have branches for each:

    if 9 >= LANES_f32:                                   # never taken where a vector has 16 lanes
        for i1 in range(0, 9 // LANES_f32 * LANES_f32, LANES_f32):
            ...

Loops that call functions such as `exp` become loops of several vectors at a time where registers are few.
"""

import ast
import re

from netc.compiler.program.nests import LANES
from netc.compiler.targets.cpu.math.functions import LONG
from netc.compiler.targets.machine import Machine

_LANES = re.compile(rf"\bLANES_({'|'.join(LANES)})\b")


def specialised(text: str, machine: Machine) -> ast.Module:
    """Returns a kernel's text for a machine: with its numbers of lanes, and without branches that it never takes."""
    module = ast.parse(_LANES.sub(lambda name: str(machine.lanes(name[1])), text))
    if _LANES.search(text):
        module.body = _taken(module.body)
    if machine.interleaved > 1:
        for loop in _innermost_loops(module):
            if (vectors := min(machine.interleaved, _vectors_of(loop, machine))) > 1:
                assert isinstance(loop.iter, ast.Call)
                loop.iter.keywords.append(ast.keyword("interleave", ast.Constant(vectors)))
    return module


def is_interleaved(module: ast.Module) -> bool:
    """Whether a specialised text has a loop of several vectors at a time."""
    return any(isinstance(node, ast.keyword) and node.arg == "interleave" for node in ast.walk(module))


def _innermost_loops(module: ast.Module) -> list[ast.For]:
    """The loops over ranges that contain no other loop."""
    loops = [node for node in ast.walk(module) if isinstance(node, ast.For)]
    return [loop for loop in loops if sum(isinstance(node, ast.For | ast.While) for node in ast.walk(loop)) == 1]


def _vectors_of(loop: ast.For, machine: Machine) -> int:
    """The vectors that a loop of long functions may compute at a time: a power of two, up to as many as its iterations
    fill, because LLVM would find no vectors in it otherwise. None if it calls no such function."""
    functions = {node.id for node in ast.walk(loop) if isinstance(node, ast.Name)} & LONG
    match loop.iter:
        case _ if not functions:
            return 0
        case ast.Call(args=[ast.Constant(value=int(length))]):
            lanes = min(machine.lanes(name.rpartition("_")[2]) for name in functions)
            return 1 << (length // lanes).bit_length() >> 1
    return machine.interleaved


def _taken(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a body, with those of the branch that is taken in place of an `if` whose test is decided."""
    statements = list[ast.stmt]()
    for statement in body:
        if isinstance(statement, ast.If) and (is_true := _decided(statement.test)) is not None:
            statements += _taken(statement.body if is_true else statement.orelse)
            continue
        if isinstance(statement, ast.FunctionDef | ast.For | ast.While | ast.If):
            statement.body = _taken(statement.body)
        if isinstance(statement, ast.If):
            statement.orelse = _taken(statement.orelse)
        statements.append(statement)
    return statements


def _decided(test: ast.expr) -> bool | None:
    """Whether a test is true; None if that follows from none of its numbers, as in `(n0 <= 8) & (8 < 16)`."""
    if isinstance(test, ast.BinOp) and isinstance(test.op, ast.BitAnd):
        parts = [_decided(test.left), _decided(test.right)]
        return False if False in parts else None if None in parts else True
    if any(isinstance(part, ast.Name) for part in ast.walk(test)):
        return None
    return bool(eval(ast.unparse(test)))
