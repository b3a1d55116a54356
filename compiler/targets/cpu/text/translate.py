"""Translates a kernel's text into a function of LLVM.

The text is a function `kernel` in a small part of Python: assignments, `for` over `range`, `while`, `if`, the operators
of operators.py, and calls of built-ins. `for i in row(n)` is the same loop as over `range(n)`, with a hint that LLVM
shall vectorise it, `for i in rolled(n)` one that LLVM shall not unroll, and `for i in single(n)` one that it shall
neither unroll nor vectorise. `range(n, interleave=4)` asks for four vectors at a time (loop_hints.py). Each variable
has a type, which follows from what is assigned to it. Numbers and addresses that the function takes are 64-bit
integers. Knows no built-in.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir
from msgspec import Struct, field

from netc.compiler.targets.cpu.llvm.function import ALIGNED_STACK, I64
from netc.compiler.targets.cpu.llvm.loop_hints import hint
from netc.compiler.targets.cpu.text.operators import binary
from netc.compiler.targets.cpu.text.translate_expressions import BINARY, Expressions, refused
from netc.compiler.targets.cpu.text.values import Builtin, Kind, Value, constant
from netc.compiler.targets.cpu.text.variables import State, Variables


def translate(
    tree: ast.Module, symbol: str, builtins: Mapping[str, Builtin], numbers: Mapping[str, float]
) -> ir.Module:
    """Returns a module with the function `kernel` of a text under the name `symbol`.

    `builtins` are the functions that the text may call, `numbers` its named constants. Raises ValueError if the text
    has anything else.
    """
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef), "a kernel's text is one function"
    wider: dict[tuple[int, str], Kind] = {}
    while True:  # until the type of every variable of a loop is known before the loop is written
        writer = _Writer(function, symbol, builtins, numbers, wider)
        if not writer.variables.widened:
            return writer.module
        wider |= writer.variables.widened


class _Loop(Struct):
    """The blocks that `continue` and `break` of a loop jump to, and the jumps that lead there."""

    again: Any
    end: Any
    continued: list[tuple[Any, State]] = field(default_factory=list)
    broken: list[tuple[Any, State]] = field(default_factory=list)


class _Writer:
    """Writes one function, when it is constructed. `wider` is as in `Variables`."""

    def __init__(
        self,
        function: ast.FunctionDef,
        symbol: str,
        builtins: Mapping[str, Builtin],
        numbers: Mapping[str, float],
        wider: Mapping[tuple[int, str], Kind],
    ) -> None:
        self.numbers = numbers
        self.module = ir.Module("kernel")
        names = [argument.arg for argument in function.args.args]
        emitted = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [I64] * len(names)), symbol)
        set.add(emitted.attributes, ALIGNED_STACK)  # llvmlite knows few attributes by name
        emitted.attributes.add("nounwind")
        self.builder = ir.IRBuilder(emitted.append_basic_block("entry"))
        self.variables = Variables(self.builder, wider)
        self.expressions = Expressions(self.builder, builtins, self.read)
        self.loops: list[_Loop] = []  # around the current statement, the innermost last
        for name, argument in zip(names, emitted.args, strict=True):
            self.assign(name, Value("i64", argument))
        self.statements(function.body)
        self.builder.ret_void()

    # -------------------------------------------------------------- statements

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                self.assignment(node)
            case ast.Expr(value=ast.Call() as call):
                self.expressions.call(call)
            case ast.Pass():
                pass
            case ast.For(orelse=[]):
                self.loop_over_range(node)
            case ast.While(orelse=[]):
                self.loop_while(node)
            case ast.If():
                self.branch(node)
            case ast.Break() if self.loops:
                self.leave(self.loops[-1].end, self.loops[-1].broken)
            case ast.Continue() if self.loops:
                self.leave(self.loops[-1].again, self.loops[-1].continued)
            case _:
                raise refused(node)

    def assignment(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        match node:
            case ast.AugAssign(target=ast.Name(id=name), op=operator, value=value):
                left = self.read(name)
                self.assign(name, binary(self.builder, BINARY[type(operator)], left, self.expressions.value(value)))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.assign(name, self.expressions.value(value))
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=elements)):
                values = [self.expressions.value(element) for element in elements]
                if len(targets) != len(values):
                    raise refused(node)
                for target, result in zip(targets, values, strict=True):
                    self.assign(_name_of(target, node), result)
            case ast.Assign(targets=targets, value=value):
                result = self.expressions.value(value)
                for target in targets:
                    self.assign(_name_of(target, node), result)
            case _:
                raise refused(node)

    def leave(self, block: Any, jumps: list[tuple[Any, State]]) -> None:
        """Jumps to a block, and adds this block to the jumps there. The following statements are never reached."""
        jumps.append(self.variables.here())
        self.builder.branch(block)
        self.enter(self.variables.state(self.block("unreachable"), self.variables.here()))

    def enter(self, state: State) -> None:
        """Continues at the start of a block."""
        self.builder.position_at_end(state.block)
        self.variables.now = state

    def branch(self, node: ast.If) -> None:
        """Writes an `if`: two blocks, and one where both continue."""
        variables = self.variables
        blocks, end = [self.block("yes"), self.block("no")], self.block("end")
        self.builder.cbranch(self.expressions.test(node.test), *blocks)
        before, ends = variables.here(), []
        for block, body in zip(blocks, (node.body, node.orelse), strict=True):
            self.enter(variables.state(block, before))
            self.statements(body)
            ends.append(variables.here())
            self.builder.branch(end)
        self.enter(variables.state(end, *ends, changed=_assigned([*node.body, *node.orelse])))

    def loop_over_range(self, node: ast.For) -> None:
        match node.iter:
            case ast.Call(
                func=ast.Name(id="range" | "row" | "rolled" | "single" as kind),
                args=[_, *_] as arguments,
                keywords=keywords,
            ) if len(arguments) <= 3:
                interleaved = _interleaved(keywords, node)
                numbers = [self.expressions.integer(argument) for argument in arguments]
            case _:
                raise refused(node.iter)
        start = numbers[0] if len(numbers) > 1 else I64(0)
        stop, step = numbers[min(1, len(numbers) - 1)], numbers[2] if len(numbers) == 3 else I64(1)
        builder, body, loop = self.builder, self.block("body"), _Loop(self.block("again"), self.block("end"))
        before = builder.block
        head = self.head([node.target, *node.body])
        index = builder.phi(I64)
        index.add_incoming(start, before)
        builder.cbranch(self.is_left(index, stop, step), body, loop.end)
        self.enter(self.variables.state(body, (head.block, head)))
        self.assign(_name_of(node.target, node), Value("i64", index))
        self.body(node.body, loop)
        builder.branch(loop.again)
        self.enter(self.variables.state(loop.again, *loop.continued, changed=head.changed))
        index.add_incoming(builder.add(index, step, flags=("nsw",)), loop.again)
        back = builder.branch(head.block)
        hint(self.module, back, kind, interleaved)
        head.predecessors.append(self.variables.here())
        self.close(head, loop, (head.block, head))

    def loop_while(self, node: ast.While) -> None:
        body = self.block("body")
        head = self.head(node.body)
        loop = _Loop(head.block, self.block("end"))
        self.builder.cbranch(self.expressions.test(node.test), body, loop.end)
        tested = self.variables.here()
        self.enter(self.variables.state(body, tested))
        self.body(node.body, loop)
        self.builder.branch(head.block)
        head.predecessors += loop.continued
        self.close(head, loop, tested)

    def head(self, assigning: Sequence[ast.AST]) -> State:
        """Begins a loop: enters the block that every iteration starts with."""
        variables, before, block = self.variables, self.variables.here(), self.block("head")
        self.builder.branch(block)
        head = variables.state(block, before, changed=_assigned(assigning))
        head.is_head = head.is_open = True
        self.enter(head)
        return head

    def body(self, body: Sequence[ast.stmt], loop: _Loop) -> None:
        """Writes the body of a loop; its end continues the loop."""
        self.loops.append(loop)
        self.statements(body)
        self.loops.pop()
        loop.continued.append(self.variables.here())

    def close(self, head: State, loop: _Loop, tested: tuple[Any, State]) -> None:
        """Ends a loop, and continues behind it. `tested` is where its test failed."""
        self.variables.close(head)
        changed = head.changed if loop.broken else ()
        self.enter(self.variables.state(loop.end, tested, *loop.broken, changed=changed))

    def is_left(self, index: Any, stop: Any, step: Any) -> Any:
        """Whether an index has not reached the end of a range."""
        if isinstance(step, ir.Constant):
            return self.builder.icmp_signed("<" if step.constant > 0 else ">", index, stop)
        rises, falls = (self.builder.icmp_signed(sign, index, stop) for sign in "<>")
        return self.builder.select(self.builder.icmp_signed(">", step, I64(0)), rises, falls)

    def block(self, name: str) -> Any:
        return self.builder.append_basic_block(name)

    def assign(self, name: str, value: Value) -> None:
        self.variables.now.values[name] = value

    def read(self, name: str) -> Value:
        value = self.variables.read(name)
        if value is None and name in self.numbers:
            return constant("f64", self.numbers[name])
        if value is None:
            raise ValueError(f"a kernel does not know `{name}`")
        return value


def _assigned(nodes: Sequence[ast.AST]) -> set[str]:
    """The names of the variables that some statements, or targets of statements, assign. Expressions assign none, so
    they are not looked through."""
    names = set[str]()
    for node in nodes:
        match node:
            case ast.Name(id=name):
                names.add(name)
            case ast.Tuple(elts=parts) | ast.Assign(targets=parts) | ast.While(body=parts):
                names |= _assigned(parts)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                names |= _assigned([target])
            case ast.For(target=target, body=body):
                names |= _assigned([target, *body])
            case ast.If(body=body, orelse=otherwise):
                names |= _assigned([*body, *otherwise])
    return names


def _interleaved(keywords: Sequence[ast.keyword], loop: ast.For) -> int:
    """The number of `interleave=4` in the head of a loop; 1 without it."""
    match keywords:
        case []:
            return 1
        case [ast.keyword(arg="interleave", value=ast.Constant(value=int(count)))]:
            return count
    raise refused(loop.iter)


def _name_of(target: ast.expr, statement: ast.stmt) -> str:
    if not isinstance(target, ast.Name):
        raise refused(statement)
    return target.id
