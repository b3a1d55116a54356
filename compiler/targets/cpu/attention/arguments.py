"""The common part of all attention kernels: their arguments in a record, and the loops over samples and heads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu.attention import blocks
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Number, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors

UNIT = program.bits_of(1.0)
_INDEX = 4  # bytes of a number in an index table
# The sample and head, how many queries and keys it has, and where the numbers of their rows begin, if they are packed.
_VARIABLES = ("sample", "head", "own_queries", "own_keys", "own_query_rows", "own_key_rows")


class AttentionArguments:
    """Begins the function of an attention kernel, whose record has its arguments, the variables above and `more`."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, is_gradient: bool, more: Sequence[str] = ()) -> None:
        self.module, self.lanes, self.size = module, lanes, lanes.size
        arguments = (*program.pointers(is_gradient), *program.numbers(is_gradient))
        self.fields = Fields.of(arguments, _VARIABLES, more)
        self.copied_in, self.copied_out = blocks.copy_in(module, lanes), blocks.copy_out(module, lanes)
        self.run = Function(module, symbol, 1, is_internal=False)
        self.words, self.address = self.run.new_record(self.fields)
        self.vectors = Vectors(self.run, lanes)

    def view(self, name: str, first: Number = 0) -> tuple[Word, Word, Word]:
        """The address of an operand of this sample and head from a row on, and its strides along rows and columns.

        Rows of a packed operand are counted from the first one of all samples: `order` has their numbers.
        """
        words = self.words
        offset = words["sample"] * words[f"{name}_sample"] + words["head"] * words[f"{name}_head"]
        row = words[f"{name}_row"]
        column = self.run.number(1) if name == "sums" else words[f"{name}_column"]
        from_there = self.is_packed(name).choose(0, row * first)
        return words[name] + (offset + from_there) * self.size, row, column

    def is_packed(self, name: str) -> Word:
        """Whether an operand has the rows of all samples."""
        return ~self.words[f"packs_{'keys' if program.side_of(name) == 'key' else 'queries'}"].equals(0)

    def order(self, name: str, first: Number = 0) -> Word:
        """The address of the numbers of a packed operand's rows, from one on; 0 if they follow one another."""
        address = self.words[f"own_{program.side_of(name)}_rows"] + self.run.number(_INDEX) * first
        return self.is_packed(name).choose(address, 0)

    def copy_in(self, name: str, first: Number, to: tuple[Word, Number], sizes: Sequence[Number]) -> None:
        """Copies rows of an operand: `to` is the address and the distance of the new rows, `sizes` the numbers of rows,
        of columns, and of rows with the zeros behind, and the factor."""
        self.copied_in(self.run, *to, *self.view(name, first), *sizes, self.order(name, first))

    def copy_out(self, name: str, first: Number, block: tuple[Word, Number], sizes: Sequence[Number]) -> None:
        """Copies rows to a result: `block` is the address and the distance of the rows, `sizes` the numbers of rows and
        of columns, and the factor."""
        self.copied_out(self.run, *block, *self.view(name, first), *sizes, self.order(name, first))

    def columns_of(self, name: str) -> Word:
        """The number of columns of an operand."""
        return self.words[{size for axis, size in program.axes_of(name) if axis == "column"}.pop()]

    @contextmanager
    def samples(self) -> Iterator[None]:
        """Loops over samples, and sets how many queries and keys there are."""
        words, run = self.words, self.run
        with run.loop(0, words["samples"]) as sample:
            words["sample"] = sample.index
            words["own_queries"], words["own_keys"] = words["query_count"], words["key_count"]
            for number, (name, word) in enumerate(zip(program.LENGTHS, ("own_keys", "own_queries"), strict=True)):
                with run.when(words["lengths"] > number):
                    words[word] = at_most(words[word], self.number_of_sample(name))
            for side in program.SIDES:
                words[f"own_{side}_rows"] = 0
                with run.when(self.is_packed("keys" if side == "key" else "queries")):
                    start = self.number_of_sample(f"{side}_starts")
                    words[f"own_{side}_rows"] = words[f"{side}_rows"] + start * _INDEX
            yield

    def number_of_sample(self, table: str) -> Word:
        """The number that a table has for the sample."""
        at = self.words[table] + self.words["sample"] * self.words[f"{table}_sample"] * _INDEX
        return self.run.index_at(at)

    @contextmanager
    def each_head(self) -> Iterator[Word]:
        """Loops over the heads of a sample."""
        with self.run.loop(0, self.words["heads"]) as head:
            self.words["head"] = head.index
            yield head.index

    @contextmanager
    def heads(self) -> Iterator[None]:
        """Loops over samples and heads, and sets how many queries and keys there are."""
        with self.samples(), self.each_head():
            yield
