"""Writes custom kernels: the user's Python function (program/custom.py) as kernel text.

There are no global names and no functions but those of scalar expressions (scalars.py), so that the text alone
defines the kernel. LLVM is not imported, because a warm start does without it.
"""

import ast
import textwrap
from collections.abc import Mapping
from typing import Any

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.custom import definition
from netc.compiler.program.kernels import ArrayArgument, CustomKernel
from netc.compiler.program.scalars import FUNCTION_NAMES
from netc.compiler.targets.cpu.nests.nest_writer import SCOPES

_REFUSED = (
    *(ast.Return, ast.FunctionDef, ast.Lambda, ast.Import, ast.ImportFrom, ast.Global, ast.With, ast.Try, ast.Raise),
    *(ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp, ast.Yield, ast.Await),
)
_PLAIN = ("range", "abs", "min", "max", "int", "float", "len")


def write_custom(kernel: CustomKernel) -> str:
    """Returns the source of a kernel over addresses p0, p1, ... and, if it is batched, the number of samples n0.

    Raises ValueError if the function's parameters do not fit, or if it uses anything that kernels do not have.
    """
    arrays, attributes, is_batched = kernel.arrays, dict(kernel.attributes), kernel.is_batched
    node = definition(kernel.function)
    names = [argument.arg for argument in node.args.args]
    array_of = dict(zip(names, arrays, strict=False))
    rest = names[len(arrays) :]
    if len(array_of) < len(arrays) or any(name not in attributes for name in rest):
        raise ValueError(
            f"the kernel takes {', '.join(names)}: the result, {len(arrays) - 1} operands, then attributes by name"
        )
    rewriter = _Rewriter(array_of, {name: attributes[name] for name in rest}, is_batched)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    lines = "\n".join(ast.unparse(ast.fix_missing_locations(rewriter.visit(statement))) for statement in body)
    pointers = [f"p{i}" for i in range(1 + max(array.pointer for array in arrays))]
    head = f"def kernel({', '.join([*pointers, *(['n0'] if is_batched else [])])}):\n"
    if not is_batched:
        return head + textwrap.indent(lines, "    ") + "\n"
    return f"{head}    for _row in range(n0):\n{textwrap.indent(lines, '        ')}\n"


def _scope(array: ArrayArgument) -> int:
    """The alias scope of an array."""
    return min(array.buffer, SCOPES - 1)


class _Rewriter(ast.NodeTransformer):
    """Replaces elements by loads and stores, sizes and attributes by numbers, and functions by built-ins."""

    def __init__(self, arrays: Mapping[str, ArrayArgument], numbers: Mapping[str, Any], is_batched: bool) -> None:
        self.arrays, self.numbers, self.is_batched = arrays, numbers, is_batched
        self.out = next(iter(arrays))
        self.dtype = arrays[self.out].dtype

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, _REFUSED):
            raise ValueError(f"a kernel has no `{ast.unparse(node).splitlines()[0]}`")
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.numbers:
            return ast.Constant(self.numbers[node.id])
        if node.id in self.arrays:
            raise ValueError(f"`{node.id}` is an array: a kernel takes it element by element")
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if (
            isinstance(node.value, ast.Attribute)
            and node.value.attr == "shape"
            and isinstance(node.value.value, ast.Name)
        ):
            array, axis = self._array(node.value.value), ast.literal_eval(node.slice)
            return ast.Constant(array.shape[axis])
        array = self._array(node.value)
        return self._call(
            f"load_{array.dtype}_{_scope(array)}", ast.Name(f"p{array.pointer}"), self._offset(array, node)
        )

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        target = node.targets[0]
        if len(node.targets) == 1 and isinstance(target, ast.Subscript):
            return self._store(target, self.visit(node.value))
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.target, ast.Subscript):
            before = ast.Subscript(node.target.value, node.target.slice, ast.Load())
            return self._store(node.target, self.visit(ast.BinOp(before, node.op, node.value)))
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = node.func
        of_math = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "math"
        name = called.attr if isinstance(called, ast.Attribute) and of_math else ast.unparse(called)
        if name == "len" and isinstance(node.args[0], ast.Name) and node.args[0].id in self.arrays:
            return ast.Constant(self.arrays[node.args[0].id].shape[0])
        arguments = [self.visit(argument) for argument in node.args]
        if name in _PLAIN and not of_math:
            return ast.Call(ast.Name(name), arguments, [])
        if not of_math or f"{name}_{self.dtype}" not in FUNCTION_NAMES:
            raise ValueError(f"a kernel does not know `{ast.unparse(called)}`")
        typed = [self._call(DTYPES[self.dtype].conversion, argument) for argument in arguments]
        return self._call(f"{name}_{self.dtype}", *typed)

    def _store(self, target: ast.Subscript, value: ast.expr) -> ast.AST:
        array = self._array(target.value)
        if not isinstance(target.value, ast.Name) or target.value.id != self.out:
            raise ValueError(f"a kernel writes to its result alone, and not to `{ast.unparse(target)}`")
        cast = self._call(DTYPES[array.dtype].conversion, value) if array.dtype != "bool" else value
        store = f"store_{array.dtype}_{_scope(array)}"
        return ast.Expr(self._call(store, ast.Name(f"p{array.pointer}"), self._offset(array, target), cast))

    def _array(self, node: ast.expr) -> ArrayArgument:
        if not isinstance(node, ast.Name) or node.id not in self.arrays:
            raise ValueError(f"`{ast.unparse(node)}` is not an array of this kernel")
        return self.arrays[node.id]

    def _offset(self, array: ArrayArgument, node: ast.Subscript) -> ast.expr:
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(indices) != len(array.shape):
            raise ValueError(f"`{ast.unparse(node)}`: the array has {len(array.shape)} axes")
        steps: list[tuple[ast.expr, int]] = [
            (self.visit(index), step) for index, step in zip(indices, array.strides, strict=True)
        ]
        if self.is_batched and array.apart:
            steps.insert(0, (ast.Name("_row"), array.apart))
        total: ast.expr = ast.Constant(0)
        for index, step in steps:
            total = ast.BinOp(total, ast.Add(), ast.BinOp(index, ast.Mult(), ast.Constant(step)))
        return total

    @staticmethod
    def _call(name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(name), list(arguments), [])
