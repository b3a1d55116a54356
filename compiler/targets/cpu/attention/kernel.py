"""The attention kernel: the softmax of scores times values, block by block (FlashAttention: Dao et al. 2022, 2023).

    for each sample and head:
        copy keys and values into scratch memory         # unless they are read where they lie
        for each block of queries:                       # transposed, so that a column of scores is a query
            for each block of keys:                      # only up to the diagonal, if attention is causal
                scores  = keys x queries
                weights = exp(scores - running maximum)  # online softmax (softmax.py)
                result  = result * factor + weights x values
            result = result / running total

Only one block of scores is in memory at a time. Rows of queries and results that are whole vectors are read and written
where they lie, and those of keys and values too, unless there are many blocks of queries: only then does copying them
pay. Tiles beyond the diagonal are skipped too. All tiles prefetch (prefetch.py).

Beyond a sample's own queries, results repeat those of the last one. Without keys they are zero. The order of all sums
follows from the numbers of queries and keys alone, so bits do not depend on how samples and heads are shared out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu.attention import blocks, softmax
from netc.compiler.targets.cpu.attention.arguments import UNIT, AttentionArguments
from netc.compiler.targets.cpu.attention.blocks import EVERYTHING
from netc.compiler.targets.cpu.attention.prefetch import VARIABLES, Prefetches
from netc.compiler.targets.cpu.llvm.function import Number, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products import tile
from netc.compiler.targets.machine import Machine

_FEW_BLOCKS = 6  # of queries: to copy keys and values for them takes longer than to read rows that lie far apart
# The variables of the kernels.
# - of a block of queries: the first query, their count, the count rounded up to whole vectors, the end of the keys seen
# - of a block of keys: the first key, their count; the diagonal between the two blocks
# - of each part of the scratch memory that holds rows of an operand: the address of the rows, the distance between
#   them, and whether they are read directly in the operand, without a copy
_VARIABLES = ("first", "count", "lanes", "end", "key", "some", "diagonal")
_PARTS = ("queries", "keys", "values", "result", "gradients", "of_keys", "of_values")
_OPERANDS = tuple(f"{part}_{what}" for part in _PARTS for what in ("at", "apart", "is_direct"))


def attention(symbol: str, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel of an element type: the function `symbol` of program/attention.py."""
    kernel = _Attention(ir.Module(symbol), symbol, Lanes(dtype, machine), is_gradient=False)
    kernel.write()
    return kernel.module


class AttentionWriter(AttentionArguments):
    """The common part of the kernels that walk blocks: scratch memory, copies, and loops over blocks."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, is_gradient: bool) -> None:
        super().__init__(
            module, symbol, lanes, is_gradient, (*_VARIABLES, *_OPERANDS, *blocks.PRODUCT, *tile.FIELDS, *VARIABLES)
        )
        self.block = lanes.machine.attention_block(lanes.dtype)
        self.prefetches = Prefetches(module, self.fields, self.size, is_gradient)
        self.product = blocks.product(module, lanes, self.fields, self.prefetches)
        self.transposed, self.rest_filled = blocks.transpose(module, lanes), blocks.fill_rest(module, lanes)
        self.filled = blocks.fill(module, lanes)
        keys, width, value_width = (self.words[name] for name in ("key_count", "width", "value_width"))
        self.layout = program.scratch_layout(self.block, lanes.count, width, value_width, int(is_gradient))
        self.keys_layout = program.keys_layout(lanes.count, keys, width, value_width, int(is_gradient))

    def address_of(self, part: str, offset: Number = 0) -> Word:
        """The address of the element `offset` of a part of the scratch memory."""
        is_of_keys = part in program.KeysLayout._fields
        elements: Word = getattr(self.keys_layout if is_of_keys else self.layout, part) + offset
        return self.words["all_keys" if is_of_keys else "scratch"] + elements * self.size

    def address_of_row(self, number: int, j: Number = 0) -> Word:
        """The address, at query j of the block, of one of three rows with a number for each query."""
        return self.address_of("rows", self.run.number(number * self.block) + j)

    def width_of(self, name: str) -> Word:
        """The distance between rows of a block of an operand."""
        is_wide = dict(program.axes_of(name))["column"] == "value_width"
        width: Word = self.layout.value_width if is_wide else self.layout.width
        return width

    def locate(self, part: str, name: str, first: Number, rows: Word, needs_squares: bool = False) -> None:
        """Chooses where rows of an operand, from `first` on, are read or written: directly, or in a part of the scratch
        memory. With `needs_squares` they are read as squares of vectors, so their number must be that of whole vectors.
        """
        words, count = self.words, self.lanes.count
        address, row, column = self.view(name, first)
        columns = self.columns_of(name)
        is_direct = column.equals(1) & columns.equals(self.width_of(name)) & ~self.is_packed(name)
        if name in ("of_keys", "of_values"):  # several blocks of queries add to zeros in the scratch memory
            is_direct = is_direct & (words["own_queries"] <= self.block)
        elif program.side_of(name) == "key":
            is_direct = is_direct & (words["own_queries"] <= _FEW_BLOCKS * self.block)
        if needs_squares:
            is_direct = is_direct & rows.equals(rows // count * count)
        words[f"{part}_at"] = is_direct.choose(address, self.address_of(part))
        words[f"{part}_apart"] = is_direct.choose(row, self.width_of(name))
        words[f"{part}_is_direct"] = is_direct.choose(1, 0)

    def rows_of(self, part: str, row: Number = 0) -> Word:
        """The address of a row of a part, after `locate`."""
        address: Word = self.words[f"{part}_at"] + self.words[f"{part}_apart"] * row * self.size
        return address

    def apart(self, part: str) -> Word:
        """The distance between rows of a part."""
        return self.words[f"{part}_apart"]

    def is_in_scratch(self, part: str) -> Word:
        """Whether rows are in the scratch memory, and not in the operand."""
        return self.words[f"{part}_is_direct"].equals(0)

    def load_rows(self, name: str, part: str, first: Number, rows: Word, all_rows: Word | None = None) -> None:
        """Locates rows of an operand, and copies them if need be, with rows of zeros behind them up to `all_rows`."""
        self.locate(part, name, first, rows, needs_squares=all_rows is not None)
        with self.run.when(self.is_in_scratch(part)):
            sizes = (rows, self.columns_of(name), rows if all_rows is None else all_rows, UNIT)
            self.copy_in(name, first, (self.address_of(part), self.width_of(name)), sizes)

    def store_rows(self, part: str, name: str, first: Number, rows: Word) -> None:
        """Copies a part of the scratch memory to rows of a result, unless they were written there directly."""
        with self.run.when(self.is_in_scratch(part)):
            self.copy_out(
                name, first, (self.address_of(part), self.width_of(name)), (rows, self.columns_of(name), UNIT)
            )

    def fill_rest(self, name: str, first: Word, repeats: bool) -> None:
        """Fills the rows of a result from `first` on with the row before, if it `repeats`, or with zeros.

        Packed results have no such rows.
        """
        axes = dict(program.axes_of(name))
        rows, columns = self.words[axes["row"]], self.columns_of(name) if "column" in axes else self.run.number(1)
        with self.run.when(~self.is_packed(name)):
            self.rest_filled(self.run, *self.view(name), first, rows, columns, int(repeats))

    def store_zeros(self, name: str) -> None:
        """Fills a result with zeros in the rows of a block of queries, and, unless it is packed, in all rows behind."""
        words, width = self.words, self.width_of(name)
        self.fill_rest(name, words["first"], repeats=False)
        with self.run.when(self.is_packed(name)):
            self.filled(self.run, self.rows_of("result"), width * words["count"], 0)
            self.store_rows("result", name, words["first"], words["count"])

    def transpose(self, part: str, name: str, to: str, factor: Number = UNIT) -> None:
        """Transposes a block of queries, times a factor."""
        sizes = self.apart(part), self.words["lanes"], self.width_of(name)
        self.transposed(self.run, self.rows_of(part), *sizes, self.address_of(to), self.block, factor)

    def multiply(self, adds: Number = 0, limits: str = "", **arguments: Number) -> None:
        """Writes a product of blocks (blocks.PRODUCT), added to c if `adds` is 1.

        `limits` names the limit that the diagonal sets, if any.
        """
        words = self.words
        for name in ("rows_to", "depth_to", "depth_from"):
            words[name] = words["diagonal"] if name == limits else EVERYTHING
        fixed: dict[str, Number] = {"runs": 1, "runs_a": 0, "panel_run": 0, "reads_start": adds}
        for name, number in {**fixed, **arguments}.items():
            words[name] = number
        self.product(self.run, self.address)

    @contextmanager
    def blocks_of_queries(self) -> Iterator[None]:
        """Loops over blocks of queries, and sets how many keys they see."""
        words, run, count = self.words, self.run, self.lanes.count
        with run.loop(0, words["own_queries"], self.block) as first:
            words["first"], words["key"] = first.index, 0
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

    def multiply_by_queries(self, part: str, across: str, depth: Word, to: str) -> None:
        """A block of scores, or of what becomes their gradient: rows of keys or values by transposed queries."""
        words = self.words
        self.multiply(
            limits="rows_to", a=self.rows_of(part, words["key"]), a_row=self.apart(part), a_step=1,
            b=self.address_of(across), panel_row=self.block,
            c=self.address_of(to), rows_c=self.block, start_row=self.block,
            all_rows=words["some"], all_columns=words["lanes"], all_depth=depth,
        )  # fmt: skip


class _Attention(AttentionWriter):
    """Writes the forward kernel."""

    def write(self) -> None:
        words, run = self.words, self.run
        scale_rows, finish = blocks.scale_rows(self.module, self.lanes), softmax.finish(self.module, self.lanes)
        online_softmax = softmax.online_softmax(self.module, self.lanes, self.block)
        with self.heads():
            self.prefetches.begin_head(run, words, self.address, self.is_packed)
            keys = words["own_keys"]
            self.load_rows("keys", "keys", 0, keys)
            self.load_rows("values", "values", 0, keys)
            with self.blocks_of_queries():
                self.load_rows("queries", "queries", words["first"], words["count"], words["lanes"])
                self.transpose("queries", "queries", "queries_across", words["scale"])
                self.locate("result", "result", words["first"], words["count"])
                self.filled(run, self.address_of_row(0), self.block, program.bits_of(float("-inf")))
                self.filled(run, self.address_of_row(1), self.block, 0)
                result, width = (self.rows_of("result"), self.apart("result")), self.layout.value_width
                with self.blocks_of_keys():
                    self.multiply_by_queries("keys", "queries_across", words["width"], "scores")
                    with run.loop(0, words["lanes"], self.lanes.count) as j:
                        rows = (self.address_of_row(number, j.index) for number in range(3))
                        limit = words["diagonal"] + j.index
                        online_softmax(run, self.address_of("scores", j.index), words["some"], limit, *rows)
                    with run.when(words["key"] > 0):
                        scale_rows(run, *result, width, words["count"], self.address_of_row(2))
                    self.multiply(
                        (words["key"] > 0).choose(1, 0), "depth_to",
                        a=self.address_of("scores"), a_row=1, a_step=self.block,
                        b=self.rows_of("values", words["key"]), panel_row=self.apart("values"), c=result[0],
                        rows_c=result[1], start_row=result[1], all_rows=words["count"], all_columns=width,
                        all_depth=words["some"],
                    )  # fmt: skip
                finish(run, words["lanes"], *(self.address_of_row(number) for number in range(3)))
                with run.when(words["end"] > 0):
                    scale_rows(run, *result, width, words["count"], self.address_of_row(2))
                    self.store_rows("result", "result", words["first"], words["count"])
                with run.when(words["end"].equals(0)):
                    self.store_zeros("result")
                self.copy_out("sums", words["first"], (self.address_of_row(0), 1), (words["count"], 1, UNIT))
            self.fill_rest("result", words["own_queries"], repeats=True)
            self.fill_rest("sums", words["own_queries"], repeats=True)
        run.end()
