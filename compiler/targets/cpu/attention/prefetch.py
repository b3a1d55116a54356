"""Prefetches of the attention kernels: the rows that a head writes, and those that the next head reads.

They are many short rows, far apart, which a CPU does not foresee. Register tiles prefetch them, a cache line at each
row of depth: a head has more such rows than lines. All at once, they would wait for one another, because a CPU has few
misses under way. The lines of an operand are taken column by column, one operand after another.

Knows no order of blocks: `advance` is called before each tile.
"""

from collections.abc import Callable, Sequence
from typing import Any

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Record, Word
from netc.compiler.targets.cpu.products import tile
from netc.compiler.targets.machine import LINE

_MOST = 64 << 10  # bytes of an operand of a head: larger ones would leave the second cache before they are read
_FOREVER = 1 << 40  # rows of what is prefetched when all lines have been: the same line of scratch memory
# The variables: the number of the operand, and of its lines that are prefetched now the address, the distance of rows
# in bytes, the rows, the next row, and the lines of each row that are left, this one included.
_LINES = ("operand_ahead", "line_at", "line_step", "line_rows", "line_row", "lines_left")
VARIABLES = (*_LINES, *(f"{name}_ahead" for name in program.tensors(is_gradient=True)), *tile.AHEAD)


class Prefetches:
    """Writes the choice of lines into the functions of a kernel."""

    def __init__(self, module: Any, fields: Fields, size: int, is_gradient: bool) -> None:
        self.size = size
        written = [name for name in program.written(is_gradient) if name in program.tensors(is_gradient)]
        # first what is written soon, then what is read later
        self.names: Sequence[str] = [*written, *(n for n in program.tensors(is_gradient) if n not in written)]
        self.written = frozenset(written)
        self.begin_operand = Function(module, "begin_operand", 1)
        self.write_begin_operand(fields)

    def begin_head(self, function: Function, words: Record, address: Word, is_packed: Callable[[str], Word]) -> None:
        """Sets the addresses of a head's operands, and begins with the first. Rows of packed ones lie anywhere."""
        next_head = words["head"] + 1
        is_last = next_head.equals(words["heads"])
        sample, head = is_last.choose(words["sample"] + 1, words["sample"]), is_last.choose(0, next_head)
        for name in self.names:
            at = (words["sample"], words["head"]) if name in self.written else (sample, head)
            base = words[name] + (at[0] * words[f"{name}_sample"] + at[1] * words[f"{name}_head"]) * self.size
            exists = (at[0] < words["samples"]) & ~is_packed(name)
            words[f"{name}_ahead"] = exists.choose(base, 0)
        words["operand_ahead"] = 0
        self.begin_operand(function, address)

    def write_begin_operand(self, fields: Fields) -> None:
        """Writes the function begin_operand(record), which sets the lines of the operand `operand_ahead`."""
        function = self.begin_operand
        words = function.record(function.parameters[0], fields)
        words["line_at"], words["line_step"], words["line_row"] = words["scratch"], 0, 0
        words["line_rows"], words["lines_left"] = _FOREVER, 1
        for number, name in enumerate(self.names):
            sizes = {axis: words[size] for axis, size in program.axes_of(name)}
            lines = (sizes["column"] * self.size + (LINE - 1)) // LINE
            is_small = sizes["row"] * lines * LINE <= _MOST
            with function.when(words["operand_ahead"].equals(number)):
                words["line_rows"] = 0
                with function.when(is_small & (words[f"{name}_ahead"] > 0)):
                    words["line_at"], words["line_step"] = words[f"{name}_ahead"], words[f"{name}_row"] * self.size
                    words["line_rows"], words["lines_left"] = sizes["row"], lines
        words["operand_ahead"] = words["operand_ahead"] + 1
        function.end()

    def advance(self, function: Function, words: Record, address: Word) -> None:
        """Sets what a tile prefetches: a line at each of its `depth` rows."""
        row, step = words["line_row"], words["line_step"]
        words["fetched"], words["fetched_step"] = words["line_at"] + row * step, step
        words["line_row"] = after = row + words["depth"]
        with function.when(after >= words["line_rows"]):
            words["line_row"], words["line_at"] = 0, words["line_at"] + LINE
            words["lines_left"] = left = words["lines_left"] - 1
            with function.when(left <= 0):
                self.begin_operand(function, address)
