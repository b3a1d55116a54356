"""The text of a kernel as a Python function that takes complete axes at a time.

A loop becomes an axis of NumPy arrays if its iterations do not depend on one another, except for sums and other
reductions, which are reduced in order. Any other loop stays a loop. `vectorised` returns None for a text with
anything else in it (`if`, or an element that one iteration stores and another loads). The function is written as
source, once for each text.
"""

import ast
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from msgspec import Struct

from netc.compiler.targets.emulator import reductions
from netc.compiler.targets.emulator.functions import FUNCTIONS
from netc.compiler.targets.emulator.kernel_loops import (
    NotVector,
    PlacedOffset,
    are_apart,
    assigned_name,
    exposed_and_assigned,
    is_accumulated,
    limits_of,
    linear_form,
    loop_variable,
    names_in,
    placed_accesses,
    range_arguments,
)
from netc.compiler.targets.emulator.texts import MemoryAccess, access_of, accesses


def vectorised(function: ast.FunctionDef) -> Any:
    """Returns a function of an Access, pointers and counts, or None if the loops cannot become axes."""
    try:
        source = _Vectoriser(function).source()
    except NotVector:
        return None
    names: dict[str, Any] = {**FUNCTIONS, **reductions.NAMES}
    exec(compile(source, "<kernel by axes>", "exec"), names)
    return names["kernel"]


class _Axis(Struct, frozen=True):
    """An open loop: its variable, how many loops are around it, and whether it is an axis of arrays."""

    variable: str
    depth: int
    is_parallel: bool


class _Vectoriser:
    """Writes the source of one function."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.function = function
        self.loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
        self.loop_variables = {loop_variable(loop) for loop in self.loops}
        self.arguments = {argument.arg for argument in function.args.args}
        self.depth = max((self._depth(loop) for loop in self.loops), default=0) or 1
        self.lines: list[str] = []
        self.open: list[_Axis] = []
        self.assigned: dict[str, frozenset[str]] = {}  # the parallel loops in which each name was assigned
        self.depends = self._dependencies()
        self._check_aliases()

    def _depth(self, loop: ast.For) -> int:
        return 1 + max(
            (self._depth(node) for node in ast.walk(loop) if isinstance(node, ast.For) and node is not loop), default=0
        )

    def _dependencies(self) -> dict[str, set[str]]:
        """The loop variables that each name depends on."""
        assignments = [node for node in ast.walk(self.function) if isinstance(node, ast.Assign)]
        variables: dict[str, set[str]] = {assigned_name(node): set() for node in assignments}
        for _ in variables:  # a dependency passes through at most so many names
            for node in assignments:
                for name in names_in(node.value):
                    variables[assigned_name(node)] |= {name} & self.loop_variables | variables.get(name, set())
        return variables

    def _check_aliases(self) -> None:
        """Raises NotVector if a pointer is loaded from and stored to at offsets that may meet in other iterations."""
        offsets: dict[str, dict[tuple[object, ...], PlacedOffset]] = {}
        for pointer, offset in placed_accesses(self.function.body):
            offsets.setdefault(pointer, {})[(*sorted(offset.form.items()), *map(id, offset.loops))] = offset
        stored = {access.pointer for access in accesses(self.function) if access.verb == "store"}
        self.loaded = {access.pointer for access in accesses(self.function) if access.verb == "load"}
        limits = limits_of(self.loops)
        for pointer in stored & self.loaded:
            if not all(are_apart(*pair, limits) for pair in combinations(offsets[pointer].values(), 2)):
                raise NotVector

    # -------------------------------------------------------------- statements

    def source(self) -> str:
        """The text of the function."""
        arguments = ", ".join(argument.arg for argument in self.function.args.args)
        self.statements(self.function.body, "    ")
        return f"def kernel(m, {arguments}):\n" + "\n".join(self.lines or ["    pass"]) + "\n"

    def statements(self, body: Sequence[ast.stmt], indent: str) -> None:
        """Writes the statements of a loop or of the function."""
        for node in body:
            if isinstance(node, ast.For):
                self.loop(node, indent)
            elif isinstance(node, ast.Assign):
                self.assign(node, indent)
            elif isinstance(node, ast.Expr) and (access := access_of(node.value)) is not None:
                (value,) = access.values
                self.lines.append(f"{indent}{self.access(access, self.expression(value))}")
            else:
                raise NotVector

    def loop(self, loop: ast.For, indent: str) -> None:
        """Writes a loop: as an axis if its iterations are independent, else as a loop."""
        variable, limits = loop_variable(loop), range_arguments(loop)
        parallel = self.is_parallel(loop)
        axis = _Axis(variable, len(self.open), parallel)
        bounds = ", ".join(self.expression(limit) for limit in limits)
        self.open.append(axis)
        if not parallel:
            self.lines.append(f"{indent}for {variable} in range({bounds}):")
            self.statements(loop.body, indent + "    ")
        else:
            first = "0" if len(limits) == 1 else self.expression(limits[0])
            count = f"max({self.expression(limits[-1])} - ({first}), 0)"
            self.lines.append(f"{indent}first_{variable}, count_{variable} = {first}, {count}")
            self.lines.append(
                f"{indent}{variable} = axis(first_{variable}, count_{variable}, {axis.depth}, {self.depth})"
            )
            self.statements(loop.body, indent)
        self.open.pop()

    def is_parallel(self, loop: ast.For) -> bool:
        """Whether a loop's iterations do not depend on one another, except for names that are only accumulated."""
        variable = loop_variable(loop)
        if len(range_arguments(loop)) == 3 or any(
            variable in names_in(limit)
            for inner in ast.walk(loop)
            if isinstance(inner, ast.For)
            for limit in range_arguments(inner)
        ):
            return False
        for access in accesses(loop):
            if access.verb == "load":
                continue
            form = linear_form(access.offset)
            moved = any(variable in self.depends.get(name, ()) for name in form)
            if moved and access.pointer in self.loaded:
                return False
            if not moved and not form.get(variable):
                return False
        exposed, assigned = exposed_and_assigned(loop.body)
        return all(is_accumulated(name, loop) for name in exposed & assigned)

    def parallel(self) -> frozenset[str]:
        """The variables of the open loops that are axes."""
        return frozenset(axis.variable for axis in self.open if axis.is_parallel)

    def assign(self, node: ast.Assign, indent: str) -> None:
        """Writes an assignment; one that accumulates along an axis is a reduction."""
        name = assigned_name(node)
        before = self.assigned.get(name)
        if before is not None and name in names_in(node.value) and (over := self.parallel() - before):
            self.reduce(name, node.value, over, indent)
            return
        value = self.expression(node.value)
        self.assigned[name] = self.parallel()
        self.lines.append(f"{indent}{name} = {value}")

    def reduce(self, name: str, value: ast.expr, over: frozenset[str], indent: str) -> None:
        """Writes `name = value` for each point of the axes `over`, in order."""
        axes = [axis for axis in self.open if axis.variable in over]
        sizes = ", ".join(
            next((f"count_{axis.variable}" for axis in axes if axis.depth == depth), "1") for depth in range(self.depth)
        )
        depths = ", ".join(str(axis.depth) for axis in axes)
        match value:
            case ast.BinOp(op=ast.Add(), left=ast.Name(id=left), right=right) if left == name:
                self.lines.append(f"{indent}{name} = added({name}, {self.expression(right)}, ({sizes},), ({depths},))")
                return
        others = sorted(names_in(value) - {name} - set(FUNCTIONS) - reductions.PLAIN)
        if any(other in self.loop_variables for other in others) or any(True for _ in accesses(value)):
            raise NotVector
        self.assigned[name] = self.parallel()  # in its own expression, the name is the total at one point
        function = f"lambda {', '.join([name, *others])}: {self.expression(value)}"
        self.assigned[name] = self.parallel() - over
        operands = "".join(f"{other}, " for other in others)
        self.lines.append(f"{indent}{name} = folded({function}, {name}, ({operands}), ({sizes},), ({depths},))")

    # -------------------------------------------------------------- expressions

    def expression(self, node: ast.expr) -> str:
        """An expression over arrays."""
        return ast.unparse(_Translator(self).visit(ast.parse(ast.unparse(node), mode="eval").body))

    def check_name(self, name: str) -> None:
        """Raises NotVector if a name was assigned along an axis that is closed."""
        if name in self.assigned and not self.assigned[name] <= self.parallel():
            raise NotVector

    def access(self, access: MemoryAccess, value: str | None = None) -> str:
        """The call of an Access that loads, or stores a value: by strides, or by an index if that was loaded or
        computed."""
        form = linear_form(access.offset)
        tail = "" if value is None else f", {value}"
        parallel = {axis.variable: axis for axis in self.open if axis.is_parallel}
        if set(form) - self.loop_variables - self.arguments - {""}:
            index = self.expression(access.offset)
            return f"m.{access.verb}_at({access.pointer}, {access.dtype!r}, {index}{tail})"
        shape, strides = ["1"] * self.depth, ["0"] * self.depth
        start = [str(form.get("", 0))]
        for name, factor in form.items():
            if name in parallel:
                shape[parallel[name].depth], strides[parallel[name].depth] = f"count_{name}", str(factor)
                start.append(f"first_{name} * {factor}")
            elif name:
                start.append(f"{name} * {factor}")
        first, extents, steps = " + ".join(start), ", ".join(shape), ", ".join(strides)
        return f"m.{access.verb}({access.pointer}, {access.dtype!r}, {first}, ({extents},), ({steps},){tail})"


class _Translator(ast.NodeTransformer):
    """Turns an expression of numbers into an expression of arrays."""

    def __init__(self, vectoriser: _Vectoriser) -> None:
        self.vectoriser = vectoriser

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.vectoriser.check_name(node.id)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if (access := access_of(node)) is not None:
            return ast.parse(self.vectoriser.access(access), mode="eval").body
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise NotVector
        function = reductions.ARRAY_FUNCTIONS.get(node.func.id, node.func.id)
        return _call(function, *(self.visit(argument) for argument in node.args))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return _call("where", self.visit(node.test), self.visit(node.body), self.visit(node.orelse))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        combine = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
        result, *others = (self.visit(operand) for operand in node.values)
        for other in others:
            result = _call(combine, result, other)
        combined: ast.AST = result
        return combined

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        operand = self.visit(node.operand)
        return _call("logical_not", operand) if isinstance(node.op, ast.Not) else ast.UnaryOp(node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) != 1:
            raise NotVector
        self.generic_visit(node)
        return node


def _call(name: str, *arguments: Any) -> ast.expr:
    return ast.Call(ast.Name(name), list(arguments), [])
