"""The attention kernel: the softmax of scores times values, block by block (Dao et al. 2022, 2023).

For each sample and head, all keys and values are copied to memory of the kernel, where their rows follow one another.
A block of queries then meets one block of keys after another. Scores are never in memory but for one block; a running
maximum and a running total of each query's softmax are kept (online softmax), and the result so far shrinks where the
maximum has grown. Causal blocks above the diagonal are skipped, and so are tiles above it.

Beyond a sample's own queries, results repeat those of the last one. Without keys they are zero. The order of all sums
follows from the numbers of queries and keys alone, so bits do not depend on how samples and heads are shared out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu import attention_blocks as blocks
from netc.compiler.targets.cpu import tile
from netc.compiler.targets.cpu.attention_blocks import EVERYTHING
from netc.compiler.targets.cpu.function import Function, Number, Word, at_most
from netc.compiler.targets.cpu.vectors import Lanes
from netc.compiler.targets.machine import Machine

UNIT = program.bits_of(1.0)
# The variables of the kernels: the sample and head, how many queries and keys the sample has, the first of a block of
# queries, their number, the same in whole vectors, and the number behind the last key that they see; the first of a
# block of keys and their number; the diagonal of the two blocks.
_VARIABLES = ("sample", "head", "own_queries", "own_keys", "first", "count", "lanes", "end", "key", "some", "diagonal")


def attention(symbol: str, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel of an element type: the function `symbol` of program/attention.py."""
    kernel = _Attention(ir.Module(symbol), symbol, Lanes(dtype, machine), is_gradient=False)
    kernel.write()
    return kernel.module


class AttentionArguments:
    """Writes what all attention kernels have in common: their arguments, and the loops over samples and heads.

    The record of a kernel's functions has the kernel's arguments and `more`.
    """

    def __init__(self, module: Any, symbol: str, lanes: Lanes, is_gradient: bool, more: Sequence[str] = ()) -> None:
        self.module, self.lanes, self.size = module, lanes, lanes.size
        arguments = (*program.pointers(is_gradient), *program.numbers(is_gradient))
        self.names = tuple(dict.fromkeys((*arguments, *_VARIABLES, *more)))
        self.copied_in, self.copied_out = blocks.copy_in(module, lanes), blocks.copy_out(module, lanes)
        self.run = Function(module, symbol, len(arguments), is_internal=False)
        self.words, self.address = self.run.new_record(self.names)
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
    def heads(self) -> Iterator[None]:
        """Loops over samples and heads, and sets how many queries and keys there are."""
        words, run = self.words, self.run
        with run.loop(0, words["samples"]) as sample, run.loop(0, words["heads"]) as head:
            words["sample"], words["head"] = sample.index, head.index
            words["own_queries"], words["own_keys"] = words["query_count"], words["key_count"]
            for number, (name, own) in enumerate(zip(program.LENGTHS, ("own_keys", "own_queries"), strict=True)):
                with run.when(words["lengths"] > number):
                    at = words[name] + sample.index * words[f"{name}_sample"] * 4
                    builder = run.builder
                    length = builder.load(builder.inttoptr(at.value, ir.IntType(32).as_pointer()))
                    words[own] = at_most(words[own], Word(builder, builder.sext(length, ir.IntType(64))))
            yield


class AttentionWriter(AttentionArguments):
    """Writes what the kernels of blocks have in common: memory, copies, and loops over blocks."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, is_gradient: bool) -> None:
        super().__init__(module, symbol, lanes, is_gradient, (*blocks.PRODUCT, *tile.FIELDS))
        self.block = lanes.machine.attention_block(lanes.dtype)
        self.product = blocks.product(module, lanes, self.names)
        self.turned, self.rest_filled = blocks.turn(module, lanes), blocks.fill_rest(module, lanes)
        self.filled = blocks.fill(module, lanes)
        keys, width, value_width = (self.words[name] for name in ("key_count", "width", "value_width"))
        self.room = program.room(self.block, lanes.count, keys, width, value_width, int(is_gradient))

    def place(self, part: str, offset: Number = 0) -> Word:
        """The address of a part of the kernel's memory, some elements on."""
        elements: Word = getattr(self.room, part) + offset
        return self.words["scratch"] + elements * self.size

    def place_of_rows(self, number: int, j: Number = 0) -> Word:
        """The address of one of the three rows of numbers, from query j of the block on."""
        return self.place("rows", self.run.number(number * self.block) + j)

    def width_of(self, name: str) -> Word:
        """How far rows of a block of an operand are apart."""
        is_wide = dict(program.axes_of(name))["column"] == "value_width"
        width: Word = self.room.value_width if is_wide else self.room.width
        return width

    def take(self, name: str, part: str, first: Number, rows: Word, all_rows: Word, factor: Number = UNIT) -> None:
        """Copies rows of an operand to a part of the memory, with rows of zeros behind them up to `all_rows`."""
        more = (rows, self.columns_of(name), all_rows, factor)
        self.copied_in(self.run, self.place(part), self.width_of(name), *self.view(name, first), *more)

    def give(self, part: str, name: str, first: Number, rows: Word, factor: Number = UNIT) -> None:
        """Copies a part of the memory to rows of a result."""
        more = (rows, self.columns_of(name), factor)
        self.copied_out(self.run, self.place(part), self.width_of(name), *self.view(name, first), *more)

    def fill_rest(self, name: str, first: Word, repeats: bool) -> None:
        """Fills the rows of a result from one on with the row before, or with zeros."""
        axes = dict(program.axes_of(name))
        rows, columns = self.words[axes["row"]], self.columns_of(name) if "column" in axes else self.run.number(1)
        self.rest_filled(self.run, *self.view(name), first, rows, columns, int(repeats))

    def turn(self, part: str, width: Word, to: str) -> None:
        """Transposes a block of queries."""
        self.turned(self.run, self.place(part), width, self.words["lanes"], self.place(to), self.block)

    def multiply(self, adds: Number = 0, limits: str = "", **arguments: Number) -> None:
        """Adds a product of blocks; `limits` is which of its limits the diagonal sets."""
        words = self.words
        for name in ("rows_to", "depth_to", "depth_from"):
            words[name] = words["diagonal"] if name == limits else EVERYTHING
        fixed: dict[str, Number] = {"runs": 1, "runs_a": 0, "runs_b": 0, "reads_start": adds}
        for name, number in {**fixed, **arguments}.items():
            words[name] = number
        self.product(self.run, self.address)

    @contextmanager
    def blocks_of_queries(self) -> Iterator[None]:
        """Loops over blocks of queries, and sets how many keys they see."""
        words, run, count = self.words, self.run, self.lanes.count
        with run.loop(0, words["own_queries"], self.block) as first:
            words["first"] = first.index
            words["count"] = at_most(words["own_queries"] - first.index, self.block)
            words["lanes"] = (words["count"] + (count - 1)) // count * count
            seen = at_most(words["own_keys"], first.index + words["count"])
            words["end"] = (~words["is_causal"].equals(0)).choose(seen, words["own_keys"])
            yield

    @contextmanager
    def blocks_of_keys(self) -> Iterator[None]:
        """Loops over the blocks of keys that a block of queries sees, and sets the diagonal."""
        words, run = self.words, self.run
        with run.loop(0, words["end"], self.block) as key:
            words["key"] = key.index
            words["some"] = at_most(words["own_keys"] - key.index, self.block)
            is_cut = ~words["is_causal"].equals(0) & (key.index + words["some"] > words["first"] + 1)
            words["diagonal"] = is_cut.choose(words["first"] - key.index, EVERYTHING)
            yield

    def multiply_by_queries(self, part: str, across: str, width: Word, depth: Word, to: str) -> None:
        """A block of scores, or of what becomes their gradient: rows of keys or values by transposed queries."""
        words = self.words
        self.multiply(
            limits="rows_to", a=self.place(part, words["key"] * width), a_row=width, a_step=1, b=self.place(across),
            panel_row=self.block, c=self.place(to), rows_c=self.block, start_row=self.block,
            all_rows=words["some"], all_columns=words["lanes"], all_depth=depth,
        )  # fmt: skip


class _Attention(AttentionWriter):
    """Writes the forward kernel."""

    def write(self) -> None:
        words, run = self.words, self.run
        scale_rows, finish = blocks.scale_rows(self.module, self.lanes), blocks.finish(self.module, self.lanes)
        weigh = blocks.weigh(self.module, self.lanes, self.block)
        with self.heads():
            keys = words["own_keys"]
            self.take("keys", "keys", 0, keys, keys)
            self.take("values", "values", 0, keys, keys)
            with self.blocks_of_queries():
                self.take("queries", "queries", words["first"], words["count"], words["lanes"], words["scale"])
                self.turn("queries", self.room.width, "queries_across")
                self.filled(run, self.place_of_rows(0), self.block, program.bits_of(float("-inf")))
                self.filled(run, self.place_of_rows(1), self.block, 0)
                width, result = self.room.value_width, self.place("result")
                with run.when(words["end"].equals(0)):
                    self.filled(run, result, width * words["count"], 0)
                with self.blocks_of_keys():
                    self.multiply_by_queries("keys", "queries_across", self.room.width, words["width"], "scores")
                    with run.loop(0, words["lanes"], self.lanes.count) as j:
                        rows = (self.place_of_rows(number, j.index) for number in range(3))
                        limit = words["diagonal"] + j.index
                        weigh(run, self.place("scores", j.index), words["some"], limit, *rows)
                    with run.when(words["key"] > 0):
                        scale_rows(run, result, width, words["count"], self.place_of_rows(2))
                    self.multiply(
                        (words["key"] > 0).choose(1, 0), "depth_to", a=self.place("scores"), a_row=1, a_step=self.block,
                        b=self.place("values", words["key"] * width), panel_row=width, c=result, rows_c=width,
                        start_row=width, all_rows=words["count"], all_columns=width, all_depth=words["some"],
                    )  # fmt: skip
                finish(run, words["lanes"], *(self.place_of_rows(number) for number in range(3)))
                scale_rows(run, result, width, words["count"], self.place_of_rows(2))
                self.give("result", "result", words["first"], words["count"])
                sums = (*self.view("sums", words["first"]), words["count"], 1, UNIT)
                self.copied_out(run, self.place_of_rows(0), 1, *sums)
            self.fill_rest("result", words["own_queries"], repeats=True)
            self.fill_rest("sums", words["own_queries"], repeats=True)
        run.end()
