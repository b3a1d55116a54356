"""Kernels without machine code: each kernel, be it a text or the product kernel, as a Python function over its
arguments."""

import ast
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.planning.accesses import PointerUse, use_of
from netc.compiler.program.kernels import AttentionKernel, Contraction, GroupedKernel, Kernel, WinogradKernel
from netc.compiler.program.product import DEPTHS, POINTERS, Product
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.emulator.attention import attention_of
from netc.compiler.targets.emulator.functions import FUNCTIONS
from netc.compiler.targets.emulator.grouped import grouped_of
from netc.compiler.targets.emulator.memory import Access, Reference
from netc.compiler.targets.emulator.texts import access_of, function_of, parsed
from netc.compiler.targets.emulator.vectorise import vectorised
from netc.compiler.targets.emulator.winograd import winograd_of

Array = np.ndarray[Any, Any]


class EmulatedKernel(Struct, frozen=True):
    """A kernel as functions `run` and `in_order` of an Access, pointers and counts.

    `in_order` goes element by element; it is used where a result shares memory with an operand.
    """

    run: Callable[..., None]
    in_order: Callable[..., None]
    memory: PointerUse

    def __call__(self, access: Access, pointers: Sequence[Reference], counts: Sequence[int]) -> None:
        memory = self.memory
        is_aliased = any(_overlap(pointers[i], pointers[j]) for i in memory.writes for j in memory.reads if i != j)
        (self.in_order if is_aliased else self.run)(access, *pointers, *counts)


def _overlap(pointer: Reference, other: Reference) -> bool:
    """Whether the buffers of two pointers share memory."""
    return pointer.region is other.region and pointer.low < other.high and other.low < pointer.high


@lru_cache(maxsize=1024)
def kernel_of(kernel: Kernel) -> EmulatedKernel:
    """Returns the functions of a kernel."""
    memory = use_of(kernel)
    if isinstance(kernel, Contraction):
        product = _product(kernel)
        return EmulatedKernel(product, product, memory)
    if isinstance(kernel, AttentionKernel):
        attention = attention_of(kernel)
        return EmulatedKernel(attention, attention, memory)
    if isinstance(kernel, WinogradKernel):
        filtering = winograd_of(kernel)
        return EmulatedKernel(filtering, filtering, memory)
    if isinstance(kernel, GroupedKernel):
        in_groups = grouped_of(kernel)
        return EmulatedKernel(in_groups, in_groups, memory)
    return kernel_of_text(source_of(kernel).text, memory)


def kernel_of_text(text: str, memory: PointerUse) -> EmulatedKernel:
    """Returns the functions that a kernel's text defines."""
    function = function_of(text)
    in_order = _in_order(function)
    return EmulatedKernel(vectorised(function) or in_order, in_order, memory)


class _Elements(ast.NodeTransformer):
    """Turns loads and stores into calls of an Access, and numbers into NumPy's, for which 0.0 / 0.0 is not an error."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name("F64", ast.Load()), [node], []) if isinstance(node.value, float) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        access = access_of(node)
        self.generic_visit(node)
        if access is None:
            return node
        method = ast.Attribute(ast.Name("m", ast.Load()), f"{access.verb}_at", ast.Load())
        return ast.Call(method, [ast.Name(access.pointer, ast.Load()), ast.Constant(access.dtype), *node.args[1:]], [])


def _in_order(function: ast.FunctionDef) -> Callable[..., None]:
    """The function as it stands, an element at a time."""
    arguments = ", ".join(argument.arg for argument in function.args.args)
    copy = parsed(ast.unparse(function))
    body = [ast.unparse(ast.fix_missing_locations(_Elements().visit(statement))) for statement in copy.body]
    lines = ["    " + line for statement in body for line in statement.splitlines()]
    source = f"def kernel(m, {arguments}):\n" + "\n".join(lines)
    names = dict(FUNCTIONS)
    exec(compile(source, "<kernel in order>", "exec"), names)
    run: Callable[..., None] = names["kernel"]
    return run


def _product(kernel: Contraction) -> Callable[..., None]:
    """The product kernel over its arguments (program/product.py). An element's sum runs over the depth in order."""
    dtype, factor = kernel.dtype, "bf16" if kernel.of_pairs else kernel.dtype

    def product(access: Access, *arguments: Any) -> None:
        pointers, numbers = arguments[: len(POINTERS)], arguments[len(POINTERS) :]
        call = Product[Reference, int].of(pointers, numbers, int)
        shape, strides = call.walk("c")
        if 0 in shape:
            return
        if any(_overlap(call.c, operand) for operand in (call.a, call.b)):
            raise access.fail("writes its product into an operand")
        b = _loaded(access, factor, call, "b")
        a = _gathered(access, call, kernel) if kernel.gathered else _loaded(access, factor, call, "a")
        total = np.zeros(shape, a.dtype)
        if call.has_start:
            is_in_place = (call.c.start, strides) == (call.start.start, call.walk("start")[1])
            if _overlap(call.c, call.start) and not is_in_place:
                raise access.fail("writes its product into another place of what it begins with")
            total += _loaded(access, dtype, call, "start")
        depth = tuple(getattr(call, loop).count for loop in DEPTHS)
        a = np.broadcast_to(a, (*a.shape[:4], *depth)).reshape(*a.shape[:4], -1)
        b = np.broadcast_to(b, (*b.shape[:3], *depth, b.shape[-1])).reshape(*b.shape[:3], -1, b.shape[-1])
        for k in range(a.shape[-1]):
            total += a[..., k, None] * b[..., k, None, :]
        access.store(call.c, dtype, 0, shape, strides, total)

    return product


def _gathered(access: Access, call: Product[Reference, int], kernel: Contraction) -> Array:
    """The operand a over the loops that it walks, found by the numbers of its rows, or of those of the depth."""
    loop = getattr(call, kernel.gathered_loop)
    order = access.load(call.order, "i32", 0, (loop.count,), (1,)).astype(np.int64) * loop.a
    rows, depth = (
        order if name == kernel.gathered_loop else np.arange(getattr(call, name).count) * getattr(call, name).a
        for name in ("rows", "depth")
    )
    elements: Array = access.load_at(call.a, kernel.dtype, rows[:, None] + depth)
    return elements.reshape(1, 1, 1, len(rows), 1, 1, len(depth))


def _loaded(access: Access, dtype: str, call: Product[Reference, int], operand: str) -> Array:
    """An operand of a product over the loops that it walks. A loop in which it does not move has one element there."""
    counts, strides = call.walk(operand)
    shape = [count if stride or not count else 1 for count, stride in zip(counts, strides, strict=True)]
    return access.load(getattr(call, operand), dtype, 0, shape, strides)
