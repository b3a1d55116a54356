"""What all attention kernels have in common: their arguments in a record, and the loops over samples and heads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu import attention_blocks as blocks
from netc.compiler.targets.cpu.function import Function, Number, Word, at_most
from netc.compiler.targets.cpu.vectors import Lanes, Vectors

UNIT = program.bits_of(1.0)
_VARIABLES = ("sample", "head", "own_queries", "own_keys")  # the sample and head, and how many queries and keys it has


class AttentionArguments:
    """Begins the function of an attention kernel, whose record has its arguments, the variables above and `more`."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, is_gradient: bool, more: Sequence[str] = ()) -> None:
        self.module, self.lanes, self.size = module, lanes, lanes.size
        arguments = (*program.pointers(is_gradient), *program.numbers(is_gradient))
        self.names = tuple(dict.fromkeys((*arguments, *_VARIABLES, *more)))
        self.copied_in, self.copied_out = blocks.copy_in(module, lanes), blocks.copy_out(module, lanes)
        self.run = Function(module, symbol, len(arguments), is_internal=False)
        self.words, self.address = self.run.new_record(self.names)
        self.vectors = Vectors(self.run, lanes)
        for name, argument in zip(arguments, self.run.parameters, strict=True):
            self.words[name] = argument

    def view(self, name: str, first: Number = 0) -> tuple[Word, Word, Word]:
        """The address of an operand of this sample and head from a row on, and its strides along rows and columns."""
        words = self.words
        offset = words["sample"] * words[f"{name}_sample"] + words["head"] * words[f"{name}_head"]
        row = words[f"{name}_row"]
        column = self.run.number(1) if name == "sums" else words[f"{name}_column"]
        return words[name] + (offset + row * first) * self.size, row, column

    def columns_of(self, name: str) -> Word:
        """How many columns an operand has."""
        return self.words[{size for axis, size in program.axes_of(name) if axis == "column"}.pop()]

    @contextmanager
    def samples(self) -> Iterator[None]:
        """Loops over samples, and sets how many queries and keys there are."""
        words, run = self.words, self.run
        with run.loop(0, words["samples"]) as sample:
            words["sample"] = sample.index
            words["own_queries"], words["own_keys"] = words["query_count"], words["key_count"]
            for number, (name, own) in enumerate(zip(program.LENGTHS, ("own_keys", "own_queries"), strict=True)):
                with run.when(words["lengths"] > number):
                    at = words[name] + sample.index * words[f"{name}_sample"] * 4
                    builder = run.builder
                    length = builder.load(builder.inttoptr(at.value, ir.IntType(32).as_pointer()))
                    words[own] = at_most(words[own], Word(builder, builder.sext(length, ir.IntType(64))))
            yield

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
