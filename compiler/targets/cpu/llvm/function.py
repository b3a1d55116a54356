"""Functions of an LLVM module, written with Python's operators: integers, loops, branches and records.

    with function.loop(0, rows) as i:                   # a loop in the function under construction
        address = base + i.index * row * 4              # emits multiplications and an addition of 64-bit integers
        with function.when(i.index < count):            # a branch
            vectors.store(vector, address)              # vectors.py

The kernels of products, attention and Winograd's convolution are written with it. Knows no kernel.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from msgspec import Struct

ALIGNED_STACK = '"stackrealign"'  # an attribute of functions: vectors in the stack lie in one cache line
COMPUTES = '"computes"'  # an attribute of functions whose loops compute; those of others only call tiles
I64, I32, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


class Word(Struct, frozen=True, eq=False):
    """A 64-bit integer of a function under construction, or the bit of a comparison. Division rounds towards zero."""

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
    """Returns the same number behind an empty `asm`, so that LLVM does not know how it was computed: LLVM then keeps it
    in a register, and computes other numbers from it."""
    assembly = number.builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [number.value], False)
    return Word(number.builder, assembly)


class Fields(Struct, frozen=True):
    """The names of the integers in a kernel's record: its arguments and its variables.

    The arguments are in memory of the caller, which only the caller writes. If a name is both, the argument is the
    initial value of the variable.
    """

    arguments: tuple[str, ...]
    variables: tuple[str, ...]

    @classmethod
    def of(cls, arguments: Iterable[str], *variables: Iterable[str]) -> "Fields":
        return cls(tuple(arguments), tuple(dict.fromkeys(name for names in variables for name in names)))


class Record(Struct, frozen=True):
    """The record of a kernel: in memory, the address of its arguments, and behind it the variables.

    Functions of a kernel pass it to one another by its address.
    """

    builder: Any
    address: Any
    arguments: Any
    fields: Fields

    def __getitem__(self, name: str) -> Word:
        variables, arguments = self.fields.variables, self.fields.arguments
        address = self._of_variable(name) if name in variables else self._at(self.arguments, arguments.index(name))
        return Word(self.builder, self.builder.load(address))

    def __setitem__(self, name: str, number: Number) -> None:
        self.builder.store(value_of(number), self._of_variable(name))

    def _of_variable(self, name: str) -> Any:
        return self._at(self.address, 1 + self.fields.variables.index(name))

    def _at(self, begin: Any, number: int) -> Any:
        return self.builder.gep(begin, [ir.Constant(I64, number)])


class Iteration(Struct):
    """An iteration of a loop: its index, and the step to the next one, which the body may change."""

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
        """Loads an element of an index table, a number of 32 bits."""
        number = self.builder.load(self.builder.inttoptr(address.value, I32.as_pointer()))
        return Word(self.builder, self.builder.sext(number, I64))

    def new_record(self, fields: Fields) -> tuple[Record, Word]:
        """Returns a record on the stack, and its address. This function's parameter is the address of the arguments."""
        memory, (arguments,) = self.builder.alloca(I64, 1 + len(fields.variables)), self.parameters
        self.builder.store(arguments.value, memory)
        record = Record(self.builder, memory, self.builder.inttoptr(arguments.value, I64.as_pointer()), fields)
        initial = Record(self.builder, memory, record.arguments, Fields(fields.arguments, ()))
        for name in fields.arguments:
            if name in fields.variables:
                record[name] = initial[name]
        return record, Word(self.builder, self.builder.ptrtoint(memory, I64))

    def record(self, address: Word, fields: Fields) -> Record:
        """Returns the record at an address, which a caller passed."""
        memory = self.builder.inttoptr(address.value, I64.as_pointer())
        arguments = self.builder.inttoptr(self.builder.load(memory), I64.as_pointer())
        return Record(self.builder, memory, arguments, fields)

    @contextmanager
    def loop(self, start: Number, stop: Number, step: Number = 1) -> Iterator[Iteration]:
        """Writes a loop around what the body of the `with` statement emits, which may change the step."""
        builder = self.builder
        before, head, body, end = builder.block, *(builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(value_of(start), before)
        iteration = Iteration(Word(builder, index), step)
        builder.cbranch((iteration.index < stop).value, body, end)
        builder.position_at_end(body)
        yield iteration
        index.add_incoming((iteration.index + iteration.step).value, builder.block)
        builder.branch(head)
        builder.position_at_end(end)

    @contextmanager
    def walk(self, count: Word, addresses: Sequence[Word], steps: Sequence[Number]) -> Iterator[list[Word]]:
        """Writes a loop of `count` iterations around what the body of the `with` statement emits.

        Yields the addresses of an iteration, which are `steps` behind those of the one before.
        """
        before = self.builder.block
        with self.loop(0, count) as iteration:
            head = iteration.index.value.parent
            with self.builder.goto_block(head):
                self.builder.position_at_start(head)
                phis = [self.builder.phi(I64) for _ in addresses]
            now = [Word(self.builder, phi) for phi in phis]
            yield now
            end = self.builder.block
            for phi, address, number, step in zip(phis, addresses, now, steps, strict=True):
                phi.add_incoming(address.value, before)
                phi.add_incoming((number + step).value, end)

    @contextmanager
    def when(self, condition: Word) -> Iterator[None]:
        """Writes a branch around what the body of the `with` statement emits."""
        with self.builder.if_then(condition.value):
            yield

    def keep_order(self, value: Any) -> None:
        """Keeps LLVM's scheduler from moving instructions across this point, where a value must be known.

        It emits nothing. The scheduler would load what a loop reads before the first multiply-add, by more than there
        are registers.
        """
        use = self.declared("llvm.fake.use", ir.FunctionType(ir.VoidType(), [], var_arg=True))
        self.builder.call(use, [value])

    def declared(self, name: str, kind: Any) -> Any:
        """Returns the declaration of an LLVM intrinsic in the module."""
        return self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
