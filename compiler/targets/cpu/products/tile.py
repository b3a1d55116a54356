"""The register tile of a product, as a function in LLVM vector IR.

    c[i, j] = start[i, j] + sum over turn, run, k of a[i, turn, run, k] * b[turn, run, k, j]

A tile keeps `height` x `vectors` vectors of sums in registers:

    sums[i, j] = start[i, j], or zero
    for run, k:
        row[j]     = vector j of row k of the panel of b
        column[i]  = a[i, run, k], repeated in all lanes
        sums[i, j] = sums[i, j] + column[i] * row[j]     # one multiply-add each; nothing else in the loop but addresses
    c[i, j] = sums[i, j]

A call may have fewer rows than the tile's height: some rows are then computed twice, so that a few heights serve every
number of rows. Columns past the last whole vector are read (the planner leaves room behind every buffer) but never
stored. An element's sum runs over the depth in order, whatever tile it falls in. The last vector of a row may be half a
vector. Strides are in elements, addresses in bytes. For pairs of bf16 numbers, the depth counts pairs, strides of a
count numbers, and those of the panel of b count pairs. tile_operand.py finds rows of a, and float_product.py calls the
tiles.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from llvmlite import ir

from netc.compiler.program.kernels import Gathered
from netc.compiler.targets.cpu.llvm import bf16_pairs
from netc.compiler.targets.cpu.llvm.function import BYTE, I64, Fields, Function, Word, at_most, pinned
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, lower_half, repeated
from netc.compiler.targets.cpu.products.tile_operand import OPERANDS, Address, Operand, Rows, moved
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS, Size
from netc.compiler.targets.machine import GROUP

# The fields of the caller's record that a tile reads: strides of a, the panel of b and its strides, strides of c and
# start, and counts. Sums begin with `start` if `reads_start` is not 0; `columns` columns are stored.
FIELDS = (
    *("a_row", "runs_a", "panel", "panel_row", "panel_run", "rows_c", "start_row", "reads_start"),
    *("runs", "depth", "columns"),
)
# The fields of tiles that prefetch: an address, its step in bytes at each row of depth, and the step to the next tile's
# address. The steps to the following tiles alternate between `fetched_move` and `fetched_turn - fetched_move`.
AHEAD = ("fetched", "fetched_step", "fetched_move", "fetched_turn")
# The fields of tiles that prefetch for later calls: an address, and its step in bytes at each row of depth.
LATER = ("later", "later_step")
# The fields of a call that multiplies several tiles: their number, and the distances between two tiles in bytes.
REPEATED = ("tiles", "a_next", "panel_next", "c_next", "start_next")
# The fields of tiles that take several turns: their number, and how far a and the panel move in one, in elements.
TURNS = ("turns_in_tile", "turns_a", "turns_b")
# The field of tiles that copy the panel: the address of the copy.
COPY = ("copy",)
_SPARE = 4  # registers for repeated elements of a, beside sums and b, so that loads run ahead of multiply-adds
Kind = Literal["", "far", "copying"]
_Sums = dict[tuple[int, int], Any]  # a vector for each row and each vector of columns


def tile(module: Any, size: Size, lanes: Lanes, fields: Fields, gathered: Gathered = "", kind: Kind = "") -> Function:
    """Returns the function `tile(record, a, a_step, c, start, rows)`, of up to the tile's height of rows.

    `record` is the address of a record with `fields`, from which the tile reads those of FIELDS. Optional ones are

    - AHEAD: tiles of many rows prefetch a cache line at each row of depth, into the second cache
    - LATER: they prefetch another line
    - TURNS: the runs are repeated for each turn
    - REPEATED: a call multiplies several tiles of `rows` rows each
    - the fields of tile_operand.py, needed if rows of a are `gathered`

    Tiles of the kind "far", for blocks of a far b, prefetch both lines, whatever their rows. Those of the kind
    "copying" store each row of the panel that they load behind the one before, from the address COPY on, and take one
    run. Multiply-adds leave time for these stores, and for loads that wait for the second cache, as a loop that only
    copies does not.
    """
    name = "_".join(filter(None, [kind, "tile", str(size.height), str(size.columns(lanes))]))
    function = Function(module, name, 6)
    _Tile(function, size, lanes, fields, gathered, kind).write()
    function.end()
    return function


class _Tile:
    """Writes one tile: basic blocks that read the start, sum over runs and depth, and store."""

    def __init__(
        self, function: Function, size: Size, lanes: Lanes, fields: Fields, gathered: Gathered, kind: Kind
    ) -> None:
        self.function, self.builder, self.height, self.lanes = function, function.builder, size.height, lanes
        self.size, self.number, height = size, size.vectors, size.height
        last = lanes.half if size.ends_in_half else lanes
        self.vectors = [Vectors(function, kind) for kind in (*(lanes,) * (self.number - 1), last)]
        self.grid = [(i, j) for i in range(height) for j in range(self.number)]
        record, self.a, a_step, self.c, self.start, rows = function.parameters
        self.record = read = function.record(record, fields)
        is_far, self.copies = kind == "far", kind == "copying"
        has_time, names = size.height > FEW_ROWS or is_far, set(fields.variables)
        self.fetches = has_time and set(AHEAD) <= names
        # many gathered rows take all registers for their addresses, and so does the address of a copy
        is_full = (gathered == "rows" and not is_far) or self.copies
        self.fetches_later = has_time and not is_full and set(LATER) <= names
        self.repeats = set(REPEATED) <= names
        self.takes_turns = TURNS[0] in names and not gathered  # gathered rows are those of one turn
        operand = OPERANDS[gathered]
        optional = (
            *AHEAD * self.fetches,
            *LATER * self.fetches_later,
            *REPEATED * self.repeats,
            *TURNS * self.takes_turns,
            *COPY * self.copies,
        )
        self.words = {name: read[name] for name in (*FIELDS, *optional, *operand.fields)}
        # rows that do not exist are the last one that does: they compute and store the same numbers again
        group = [function.number(i) for i in range(GROUP)]
        self.in_group = group if height > GROUP else [at_most(row, rows - 1) for row in group]
        self.heads = [function.number(0)]
        self.heads += [at_most(function.number(i), rows - min(GROUP, height - i)) for i in range(GROUP, height, GROUP)]
        self.operand: Operand = operand(function, lanes, self.words, Rows(height, self.heads, self.in_group), a_step)

    def write(self) -> None:
        names = ("read", "turn", "run", "depth", "ran", "turned", "done", "whole", "partial", "end", "before")
        self.entry = self.builder.block
        self.blocks = {name: self.builder.function.append_basic_block(name) for name in names}
        self.operand.prepare()
        self.has_products = (self.words["runs"] * self.words["depth"]) > 0
        if self.repeats:
            with self.each_tile():
                self.store(self.add_runs(self.read_start()))
        else:
            self.store(self.add_runs(self.read_start()))

    @contextmanager
    def each_tile(self) -> Iterator[None]:
        """The loop over the tiles of a call."""
        builder, words = self.builder, self.words
        block, end = (builder.function.append_basic_block(name) for name in ("tile", "last"))
        first = {"a": self.a, "panel": words["panel"], "c": self.c, "start": self.start, "tiles": words["tiles"]}
        first |= {name: words[name] for name in ("fetched", "fetched_move") if self.fetches}
        steps = {name: words[f"{name}_next"] for name in ("a", "panel", "c", "start")}
        steps["tiles"] = self.function.number(-1)
        if self.fetches_later:
            first["later"], steps["later"] = words["later"], words["later_step"] * words["depth"] * words["runs"]
        builder.branch(block)
        builder.position_at_end(block)
        phis = {name: builder.phi(I64) for name in first}
        now = {name: Word(builder, phi) for name, phi in phis.items()}
        # else LLVM would keep an address for each row of c, and move all of them from tile to tile
        self.a, self.c, self.start = (pinned(now[name]) for name in ("a", "c", "start"))
        words["panel"] = now["panel"]
        before, self.entry = self.entry, block
        if self.fetches:
            words["fetched"], move = now["fetched"], now["fetched_move"]
        if self.fetches_later:
            words["later"] = now["later"]
        yield
        following = {name: now[name] + step for name, step in steps.items()}
        if self.fetches:
            following |= {"fetched": now["fetched"] + move, "fetched_move": words["fetched_turn"] - move}
        for name, phi in phis.items():
            phi.add_incoming(first[name].value, before)
            phi.add_incoming(following[name].value, builder.block)
        builder.cbranch((following["tiles"] > 0).value, block, end)
        builder.position_at_end(end)

    @property
    def repeats_in_memory(self) -> bool:
        """Whether the multiply-add of pairs reads and repeats a pair of a by itself: if a pair is used for one vector
        only, or if few registers are left."""
        machine = self.lanes.machine
        is_full = (self.height + 1) * self.number > machine.registers - _SPARE
        return self.lanes.has_pairs and machine.has_bf16 and (self.number == 1 or is_full)

    def row_addresses(self, base: Word, row: Word, is_reversed: bool = False) -> dict[tuple[int, int], Word]:
        """The addresses of the vectors of a tile, whose rows lie `row` elements apart from `base` on.

        In a group, the address of a row is computed from the one before, which takes few registers and few instructions
        between two tiles. If two branches need the same addresses, one of them asks for reversed groups, or else LLVM
        would compute all addresses before the branch.
        """
        step, vector, addresses = (
            row * self.lanes.size,
            self.lanes.count * self.lanes.size,
            dict[tuple[int, int], Word](),
        )
        groups = [range(first, min(first + GROUP, self.height)) for first in range(0, self.height, GROUP)]
        for group in reversed(groups) if is_reversed else groups:
            head = at = pinned(base + step * self.heads[group.start // GROUP])
            for i in group:
                if i > group.start:
                    at = pinned(at + step) if self.height > GROUP else head + step * self.in_group[i]
                addresses |= {(i, j): at + j * vector for j in range(self.number)}
        return addresses

    def read_start(self) -> _Sums:
        """The first sums: read from `start`, or zero."""
        builder, words, blocks = self.builder, self.words, self.blocks
        builder.cbranch(words["reads_start"].equals(0).value, blocks["before"], blocks["read"])
        builder.position_at_end(blocks["read"])
        addresses = self.row_addresses(self.start, words["start_row"])
        loaded = {(i, j): self.vectors[j].load(addresses[i, j]) for i, j in self.grid}
        builder.branch(blocks["before"])
        builder.position_at_end(blocks["before"])
        first = self.phis()
        for i, j in self.grid:
            first[i, j].add_incoming(self.vectors[j].lanes.zero, self.entry)
            first[i, j].add_incoming(loaded[i, j], blocks["read"])
        return first

    def phis(self) -> _Sums:
        """A phi for each sum: its value depends on the block that control comes from."""
        return {(i, j): self.builder.phi(self.vectors[j].lanes.vector) for i, j in self.grid}

    def add_runs(self, first: _Sums) -> _Sums:
        """Writes the loop over turns, with those over runs and the depth inside. Continues in the block `done`."""
        builder, words, blocks, grid = self.builder, self.words, self.blocks, self.grid
        builder.cbranch(self.has_products.value, blocks["turn"], blocks["done"])

        builder.position_at_end(blocks["turn"])
        begin = {"a": self.a, "b": words["panel"]}
        if not self.takes_turns:
            after = self.add_turn(begin, first)
            builder.branch(blocks["done"])
        else:
            again = builder.function.append_basic_block("again")
            begin["turns"] = words[TURNS[0]]
            walked, sums = {name: builder.phi(I64) for name in begin}, self.phis()
            now = {name: Word(builder, phi) for name, phi in walked.items()}
            after = self.add_turn(now, sums)
            left = now["turns"] - 1
            builder.cbranch((left > 0).value, again, blocks["done"])
            builder.position_at_end(again)
            # read here, because most calls have one turn
            steps = {"a": self.record["turns_a"] * self.lanes.unit, "b": self.record["turns_b"] * self.lanes.size}
            following = {"turns": left, **{name: now[name] + step for name, step in steps.items()}}
            for name, phi in walked.items():
                phi.add_incoming(begin[name].value, blocks["before"])
                phi.add_incoming(following[name].value, again)
            for cell in grid:
                sums[cell].add_incoming(first[cell], blocks["before"])
                sums[cell].add_incoming(after[cell], again)
            builder.branch(blocks["turn"])

        builder.position_at_end(blocks["done"])
        result = self.phis()
        for cell in grid:
            result[cell].add_incoming(first[cell], blocks["before"])
            result[cell].add_incoming(after[cell], blocks["turned"])
        return result

    def add_turn(self, at: Mapping[str, Word], first: _Sums) -> _Sums:
        """Writes the loop over the runs of a turn whose operands are at some addresses. Continues in the block
        `turned`."""
        builder, words, blocks, grid = self.builder, self.words, self.blocks, self.grid
        size, pointer = self.lanes.size, self.lanes.element.as_pointer()
        unit, begin = self.lanes.unit, {"left": words["runs"], "a": at["a"], "b": at["b"]}
        steps = {"left": self.function.number(-1), "a": words["runs_a"] * unit, "b": words["panel_run"] * size}
        if self.fetches_later:
            begin["later"], steps["later"] = words["later"], words["later_step"] * words["depth"]
        builder.branch(blocks["run"])

        builder.position_at_end(blocks["run"])
        walked = {name: builder.phi(I64) for name in begin}
        sums = self.phis()
        a, panel = (pinned(Word(builder, walked[name])) for name in ("a", "b"))
        moving = [*self.operand.begin(a), (builder.inttoptr(panel.value, pointer), words["panel_row"])]
        beside = [(words["fetched"], words["fetched_step"])] if self.fetches else []
        if self.fetches_later:
            beside.append((Word(builder, walked["later"]), words["later_step"]))
        if self.copies:
            beside.append((words["copy"], self.function.number(self.size.columns(self.lanes) * size)))
        after = self.add_depth(beside, moving, sums)

        builder.position_at_end(blocks["ran"])
        following = {name: Word(builder, walked[name]) + step for name, step in steps.items()}
        for name, phi in walked.items():
            phi.add_incoming(begin[name].value, blocks["turn"])
            phi.add_incoming(following[name].value, blocks["ran"])
        for cell in grid:
            sums[cell].add_incoming(first[cell], blocks["turn"])
            sums[cell].add_incoming(after[cell], blocks["ran"])
        builder.cbranch((following["left"] > 0).value, blocks["run"], blocks["turned"])
        builder.position_at_end(blocks["turned"])
        return after

    def add_depth(self, beside: list[tuple[Word, Word]], moving: list[tuple[Any, Word]], before: _Sums) -> _Sums:
        """The loop over the depth of a run. What moves in it are addresses `beside` the operands, where it prefetches
        or copies to, the places of a's rows and, at the end, that of b."""
        builder, words, blocks, grid = self.builder, self.words, self.blocks, self.grid
        lines = [(builder.inttoptr(at.value, BYTE.as_pointer()), step) for at, step in beside]
        moving = [*lines, *moving]
        builder.branch(blocks["depth"])
        builder.position_at_end(blocks["depth"])
        left = builder.phi(I64)
        left.add_incoming(words["depth"].value, blocks["run"])
        pointers = [builder.phi(start.type) for start, _ in moving]
        sums = self.phis()
        row = [self.load(pointers[-1], j) for j in range(self.number)]
        broadcast = self.operand.addresses(pointers[len(lines) : -1])
        if self.copies:
            copy = Word(builder, builder.ptrtoint(pointers[len(lines) - 1], I64))
            for j, vector in enumerate(row):
                self.vectors[j].store(vector, copy + j * self.lanes.machine.vector_bytes)
        for line in pointers[: len(lines) - self.copies]:
            self.vectors[0].fetch_line(line, is_written=False)
        after: _Sums = {}
        for i, at in enumerate(broadcast):
            after |= self.add_row(i, at, row, sums)
            if (i + 1) % self.together == 0:
                self.function.keep_order(after[i, 0])
        for pointer, (start, step) in zip(pointers, moving, strict=True):
            pointer.add_incoming(start, blocks["run"])
            pointer.add_incoming(_hidden(builder, moved(builder, pointer, step)), blocks["depth"])
        following = builder.sub(left, ir.Constant(I64, 1))
        left.add_incoming(following, blocks["depth"])
        for cell in grid:
            sums[cell].add_incoming(before[cell], blocks["run"])
            sums[cell].add_incoming(after[cell], blocks["depth"])
        # the decrement itself sets the flag of zero: a comparison by order would take one more instruction
        builder.cbranch(builder.icmp_unsigned("!=", following, ir.Constant(I64, 0)), blocks["depth"], blocks["ran"])
        return after

    def add_row(self, i: int, at: Address, row: Sequence[Any], sums: _Sums) -> _Sums:
        """The sums of row i, with the products of its element at an address and a row of b."""
        builder = self.builder
        if self.repeats_in_memory:
            multiply_add = bf16_pairs.multiply_add_repeated
            products = [multiply_add(builder, *at, row[j], sums[i, j]) for j in range(self.number)]
        else:
            pointer, offset = at
            column = self.splats(builder.gep(pointer, [offset]))
            products = [self.vectors[j].multiply_add(column[j], row[j], sums[i, j]) for j in range(self.number)]
        return {(i, j): product for j, product in enumerate(products)}

    @property
    def together(self) -> int:
        """The rows whose elements LLVM may load before the multiply-adds of the first: for all of them, and b and the
        sums, there are registers."""
        return max(self.lanes.machine.registers - (self.height + 1) * self.number - 1, 1)

    def store(self, result: _Sums) -> None:
        """Stores whole vectors if the tile has all of its columns, else those lanes that are columns."""
        builder, columns, blocks = self.builder, self.words["columns"], self.blocks
        is_whole = columns >= self.size.columns(self.lanes)
        builder.cbranch(is_whole.value, blocks["whole"], blocks["partial"])
        builder.position_at_end(blocks["whole"])
        addresses = self.row_addresses(self.c, self.words["rows_c"])
        for i, j in self.grid:
            self.vectors[j].store(result[i, j], addresses[i, j])
        builder.branch(blocks["end"])

        builder.position_at_end(blocks["partial"])
        addresses = self.row_addresses(self.c, self.words["rows_c"], is_reversed=True)
        columns = self.record["columns"]  # read again, or else LLVM would compute masks before each loop over tiles
        for j, vectors in enumerate(self.vectors):
            cells = [(result[i, j], addresses[i, j]) for i in range(self.height)]
            vectors.store_first(cells, columns - j * self.lanes.count)
        builder.branch(blocks["end"])
        builder.position_at_end(blocks["end"])

    def load(self, pointer: Any, j: int) -> Any:
        """Vector j of a row of b that begins at a pointer."""
        element = self.builder.gep(pointer, [ir.Constant(I64, j * self.lanes.count)])
        vector = self.builder.load(self.builder.bitcast(element, self.vectors[j].lanes.vector.as_pointer()))
        vector.align = self.lanes.size
        return vector

    def splats(self, pointer: Any) -> list[Any]:
        """For each vector of a row, one of which every lane is the element at a pointer."""
        scalar = self.builder.load(self.builder.bitcast(pointer, self.lanes.element.as_pointer()))
        scalar.align = self.lanes.unit
        first = repeated(self.builder, scalar, self.vectors[0].lanes.vector)
        if self.number == 1 or not self.size.ends_in_half:
            return [first] * self.number
        first = _hidden(self.builder, first)
        return [*(first,) * (self.number - 1), lower_half(self.builder, first)]


def _hidden(builder: Any, value: Any) -> Any:
    """The same pointer, number or vector behind an empty `asm`, so that LLVM does not know how it was computed.

    LLVM would otherwise rewrite the pointers of a loop: each as a sum with another one, or one for each row, which are
    more than there are registers. And it would load half of a repeated number separately.
    """
    constraint = "=v,0" if isinstance(value.type, ir.VectorType) else "=r,0"
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", constraint, [value], False)
