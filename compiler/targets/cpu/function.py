"""Functions of an LLVM module that netc writes itself: arithmetic on 64-bit integers as Python writes it, loops,
branches and records of integers.

tiles.py writes the product kernel with it. Knows no kernel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from msgspec import Struct

ALIGNED_STACK = '"stackrealign"'  # an attribute of functions: vectors in the stack lie in one cache line
I64, I32, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


class Word(Struct, frozen=True, eq=False):
    """A 64-bit integer of a function, or the bit that a comparison gives. Division rounds towards zero."""

    builder: Any
    value: Any

    def __add__(self, other: "Number") -> "Word":
        return self._apply(self.builder.add, other)

    def __sub__(self, other: "Number") -> "Word":
        return self._apply(self.builder.sub, other)

    def __mul__(self, other: "Number") -> "Word":
        return self._apply(self.builder.mul, other)

    def __floordiv__(self, other: "Number") -> "Word":
        return self._apply(self.builder.sdiv, other)

    def __lt__(self, other: "Number") -> "Word":
        return self._compare("<", other)

    def __le__(self, other: "Number") -> "Word":
        return self._compare("<=", other)

    def __gt__(self, other: "Number") -> "Word":
        return self._compare(">", other)

    def __ge__(self, other: "Number") -> "Word":
        return self._compare(">=", other)

    def equals(self, other: "Number") -> "Word":
        return self._compare("==", other)

    def __and__(self, other: "Word") -> "Word":
        return self._apply(self.builder.and_, other)

    def __or__(self, other: "Word") -> "Word":
        return self._apply(self.builder.or_, other)

    def __invert__(self) -> "Word":
        return Word(self.builder, self.builder.not_(self.value))

    def choose(self, first: "Number", second: "Number") -> "Word":
        """`first` if this bit is 1, else `second`."""
        return Word(self.builder, self.builder.select(self.value, value_of(first), value_of(second)))

    def _apply(self, operation: Callable[[Any, Any], Any], other: "Number") -> "Word":
        return Word(self.builder, operation(self.value, value_of(other)))

    def _compare(self, sign: str, other: "Number") -> "Word":
        return Word(self.builder, self.builder.icmp_signed(sign, self.value, value_of(other)))


Number = Word | int


def value_of(number: Number) -> Any:
    """Returns LLVM's value for a number."""
    return number.value if isinstance(number, Word) else ir.Constant(I64, number)


def at_most(first: Word, second: Number) -> Word:
    """Returns the smaller of two numbers."""
    return (first < second).choose(first, second)


def at_least(first: Word, second: Number) -> Word:
    """Returns the larger of two numbers."""
    return (first > second).choose(first, second)


def pinned(number: Word) -> Word:
    """Returns the same number, of which LLVM does not know how it was computed: it keeps it in a register, and does not
    compute other numbers from what this one was computed from."""
    assembly = number.builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [number.value], False)
    return Word(number.builder, assembly)


class Record(Struct, frozen=True):
    """Integers in memory, under names. Functions pass it by its address."""

    builder: Any
    address: Any
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> Word:
        return Word(self.builder, self.builder.load(self._at(name)))

    def __setitem__(self, name: str, number: Number) -> None:
        self.builder.store(value_of(number), self._at(name))

    def _at(self, name: str) -> Any:
        return self.builder.gep(self.address, [ir.Constant(I64, self.names.index(name))])


class Turn(Struct):
    """An iteration of a loop: its index, and the step to the next one."""

    index: Word
    step: Number


class Function:
    """A function under construction, whose parameters and local values are 64-bit integers."""

    def __init__(self, module: Any, name: str, parameters: int, is_internal: bool = True) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * parameters), name)
        set.add(self.function.attributes, ALIGNED_STACK)  # llvmlite knows few attributes by name
        self.function.attributes.add("nounwind")
        if is_internal:  # a body of its own keeps the registers of a tile apart from those of the loops around it
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.parameters = [Word(self.builder, argument) for argument in self.function.args]

    def __call__(self, caller: "Function", *arguments: Number) -> None:
        """Writes a call of this function into another one."""
        caller.builder.call(self.function, [value_of(argument) for argument in arguments])

    def end(self) -> None:
        """Writes the return."""
        self.builder.ret_void()

    def number(self, value: int) -> Word:
        return Word(self.builder, ir.Constant(I64, value))

    def index_at(self, address: Word) -> Word:
        """Loads a number of 32 bits, an element of an index table."""
        number = self.builder.load(self.builder.inttoptr(address.value, I32.as_pointer()))
        return Word(self.builder, self.builder.sext(number, I64))

    def new_record(self, names: Sequence[str]) -> tuple[Record, Word]:
        """Returns a record in memory of this call, and its address."""
        memory = self.builder.alloca(I64, len(names))
        return Record(self.builder, memory, tuple(names)), Word(self.builder, self.builder.ptrtoint(memory, I64))

    def record(self, address: Word, names: Sequence[str]) -> Record:
        """Returns a caller's record."""
        return Record(self.builder, self.builder.inttoptr(address.value, I64.as_pointer()), tuple(names))

    @contextmanager
    def loop(self, start: Number, stop: Number, step: Number = 1) -> Iterator[Turn]:
        """Writes a loop around the body of the `with` statement, which may choose another step."""
        builder = self.builder
        before, head, body, end = builder.block, *(builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(value_of(start), before)
        turn = Turn(Word(builder, index), step)
        builder.cbranch((turn.index < stop).value, body, end)
        builder.position_at_end(body)
        yield turn
        index.add_incoming((turn.index + turn.step).value, builder.block)
        builder.branch(head)
        builder.position_at_end(end)

    @contextmanager
    def when(self, condition: Word) -> Iterator[None]:
        """Writes a branch around the body of the `with` statement."""
        with self.builder.if_then(condition.value):
            yield

    def declared(self, name: str, kind: Any) -> Any:
        """Returns the declaration of an LLVM intrinsic in the module."""
        return self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
