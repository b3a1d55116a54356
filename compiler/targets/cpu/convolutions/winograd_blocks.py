"""The common part of the kernels of Winograd's convolution: their record, loops over pieces, blocks and their tiles,
and the products of a block, one for each position in a tile (program/winograd.py)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netc.compiler.program import winograd as program
from netc.compiler.program.winograd import (
    LONGEST,
    OF_IMAGE,
    SIDE,
    STEP,
    Part,
    positions_of,
    results_of,
    tiles_of,
    tiles_of_image,
)
from netc.compiler.targets.cpu.convolutions.winograd_tiles import (
    LARGEST,
    SIDES,
    SIZES,
    Elements,
    Pair,
    TileBody,
    TileRow,
)
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Record, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products import later, tile
from netc.compiler.targets.cpu.products.common import multiply_tile
from netc.compiler.targets.cpu.products.tile_sizes import rows_of_next, sizes, with_halves

# Variables of the kernels: of a piece of the window, down and across, the first element, the number of elements, and
# the first position; the first tile of a block and their number; of the products, the rows of a, the addresses of
# operands and result at the first position, and the distances between positions, and between panels of b.
_OF_PIECES = tuple(f"{name}_{side}" for name in ("element", "elements", "position") for side in ("down", "across"))
_OF_PARTS = ("image", "slopes", "weights", "channels", "outputs")  # arguments, in a gradient those of a part
_MOVED = ("image", "panels", "result", "start", "slopes", "weights")  # arguments that lie in groups
_VARIABLES = (
    *dict.fromkeys((*_OF_PARTS, *_MOVED)),
    *_OF_PIECES,
    "first",
    "count",
    "rows_a",
    "a",
    "a_step",
    "a_position",
    "b",
    "b_position",
    "b_panel",
    "c",
    "c_position",
    "width",
    *later.VARIABLES,
)
AXES = {"down": "row", "across": "column"}
_LAYOUT = tuple(f"layout_{part}" for part in program.ScratchLayout._fields)


class WinogradWriter:
    """Begins the function of a kernel. Its record has the arguments, the variables above, and the fields of a tile."""

    def __init__(self, module: Any, symbol: str, part: Part, lanes: Lanes) -> None:
        self.module, self.lanes, self.size = module, lanes, lanes.size
        arguments = (*program.pointers(part), *program.numbers(part))
        self.fields = Fields.of(arguments, _VARIABLES, _LAYOUT, tile.FIELDS, tile.LATER)
        self.run = Function(module, symbol, 1, is_internal=False)
        self.words, self.address = self.run.new_record(self.fields)

    def begin(self, is_gradient: bool) -> None:
        """Sets the offsets of the parts of the kernel's memory, and what all products have in common."""
        words = self.words
        names = ("channel_group", "output_group") if is_gradient else ("channels", "outputs")
        channels, outputs = (words[name] for name in names)
        layout = program.scratch_layout(self.lanes.count, channels, outputs, words["block"], int(is_gradient))
        for name, offset in zip(_LAYOUT, layout, strict=True):
            words[name] = offset
        words["a"], words["a_position"] = words["scratch"], layout.channel_position
        words["c_position"] = layout.output_position
        words["runs"], words["runs_a"], words["panel_run"] = 1, 0, 0
        later.begin(words, self.depths(is_gradient))

    def count_tiles(self) -> Word:
        """The tiles of all samples of a call."""
        words = self.words
        tiles: Word = words["samples"] * tiles_of_image(*(words[name] for name in OF_IMAGE))
        return tiles

    def depths(self, is_gradient: bool) -> Word:
        """The rows of depth of all tiles of a call, as if it had one group."""
        words, tall = self.words, self.lanes.machine.tile_rows
        tiles = self.count_tiles()
        panels = (words["outputs"] + words["width"] - 1) // words["width"]
        of_rows = words["channels"], tiles
        depth, rows = reversed(of_rows) if is_gradient else of_rows
        sides = ((words[f"window_{side}"], words[f"stride_{side}"]) for side in SIDES)
        down, across = (positions_of(*side) for side in sides)
        positions: Word = down * across
        return words["groups"] * depth * ((rows + tall - 1) // tall) * panels * positions

    def at(self, part: str) -> Word:
        """The address of a part of the kernel's memory."""
        return self.words["scratch"] + self.words[f"layout_{part}"] * self.size

    @contextmanager
    def each_group(self) -> Iterator[None]:
        """Loops over groups of a convolution. In the body, the arguments are those of a group."""
        words, names = self.words, [name for name in _MOVED if name in self.fields.arguments]
        counts, bases = {name: words[name] for name in ("channels", "outputs")}, {name: words[name] for name in names}
        with self.run.loop(0, words["groups"]) as group:
            for name, base in bases.items():
                words[name] = base + group.index * words[f"{name}_group"] * self.size
            for name, count in counts.items():
                words[name] = count
            yield

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Loops over parts of a gradient's channels and outputs. In the body, the arguments are those of a part."""
        words, run, size = self.words, self.run, self.size
        image, slopes, weights, channels, outputs = (words[name] for name in _OF_PARTS)
        with (
            run.loop(0, channels, words["channel_group"]) as channel,
            run.loop(0, outputs, words["output_group"]) as output,
        ):
            words["image"], words["slopes"] = image + channel.index * size, slopes + output.index * size
            words["weights"] = weights + (channel.index * words["weights_channel"] + output.index) * size
            words["channels"] = at_most(channels - channel.index, words["channel_group"])
            words["outputs"] = at_most(outputs - output.index, words["output_group"])
            yield

    @contextmanager
    def pieces(self) -> Iterator[None]:
        """Loops over pieces of the window, in the order of program.pieces. In the body, the variables are those of a
        piece."""
        words, image = self.words, self.words["image"]
        apart = {side: words[f"image_{axis}"] * words[f"dilation_{side}"] for side, axis in AXES.items()}
        with self.pieces_of("down"):
            of_down = image + words["element_down"] * apart["down"] * self.size
            with self.pieces_of("across"):
                words["image"] = of_down + words["element_across"] * apart["across"] * self.size
                yield
        words["image"] = image

    @contextmanager
    def pieces_of(self, side: str) -> Iterator[None]:
        """Loops over pieces of a side of the window."""
        words, run = self.words, self.run
        window, stride = words[f"window_{side}"], words[f"stride_{side}"]
        words[f"position_{side}"] = 0
        with (
            run.loop(0, at_most(stride, window)) as phase,
            run.loop(phase.index, window, stride * LONGEST) as first,
        ):
            elements = at_most((window - first.index + stride - 1) // stride, LONGEST)
            words[f"element_{side}"], words[f"elements_{side}"] = first.index, elements
            yield
            words[f"position_{side}"] = words[f"position_{side}"] + elements + 1

    def weights_of_piece(self, words: Record) -> tuple[Word, Word, Word]:
        """The address of a piece's weights, and the distances between its elements, down and across, in bytes."""
        down, across = (words[f"weights_{side}"] * self.size for side in SIDES)
        at = words["weights"] + words["element_down"] * down + words["element_across"] * across
        return at, down * words["stride_down"], across * words["stride_across"]

    def panels_of_piece(self, words: Record) -> Word:
        """The address of the panels of a piece's first position."""
        down, across = (words[f"position_{side}"] * words[f"panels_{side}"] for side in SIDES)
        at: Word = words["panels"] + (down + across) * self.size
        return at

    @contextmanager
    def blocks(self) -> Iterator[Word]:
        """Loops over blocks of tiles, and yields how many a block has. Without tiles, there is one block of none."""
        words, run = self.words, self.run
        total = self.count_tiles()
        with run.loop(0, at_least(total, 1), words["block"]) as first:
            words["first"] = first.index
            words["count"] = at_most(total - first.index, words["block"])
            yield words["count"]

    def over_tiles_of_pieces(
        self, name: str, images: Sequence[str], axis: str, write: Callable[[TileBody], None]
    ) -> Function:
        """Returns a function like that of `over_tiles` for pieces of any size.

        Those smaller than the largest have a function of their own: with branches in one function, 3 x 3 convolutions
        of 16 channels took 3% longer.
        """
        of_largest = self.over_tiles(f"{name}_of_largest", images, axis, write)
        others = [size for size in SIZES if size != LARGEST]
        of_others = self.over_tiles(f"{name}_of_others", images, axis, write, others)
        function = Function(self.module, name, 1)
        is_largest = Elements.of(function.record(function.parameters[0], self.fields)).are(LARGEST)
        for condition, callee in ((is_largest, of_largest), (~is_largest, of_others)):
            with function.when(condition):
                callee(function, function.parameters[0])
        function.end()
        return function

    def over_tiles(
        self,
        name: str,
        images: Sequence[str],
        axis: str,
        write: Callable[[TileBody], None],
        sizes: Sequence[Pair] = (LARGEST,),
    ) -> Function:
        """Returns a function `name(record)`, a loop over the tiles of a block around what `write` emits.

        Its body reads or writes tiles of `images`, and rows of "channels" or "outputs" (`axis`) in the kernel's memory,
        for a piece that has one of some `sizes`.
        """
        function = Function(self.module, name, 1)
        words, size = function.record(function.parameters[0], self.fields), self.size
        count, (*results, dilation_down, dilation_across) = words["count"], (words[name] for name in OF_IMAGE)
        sides = list(zip(results, (dilation_down, dilation_across), strict=True))
        down, across = (tiles_of(results_of(0, *side)) for side in sides)
        counts, pieces = {axis: words[axis]}, Elements.of(words)
        steps = {image: [words[f"{image}_{of}"] * size for of in ("sample", "row", "column")] for image in images}
        if "image" in steps:  # its windows are `stride` elements apart
            of_sample, *lines_apart = steps["image"]
            strides = (words[f"stride_{side}"] for side in SIDES)
            steps["image"] = [of_sample, *(apart * stride for apart, stride in zip(lines_apart, strides, strict=True))]
        ats, first = {image: words[image] for image in images}, words["first"]
        start = words["scratch"] + words[f"layout_{axis}"] * size
        apart, position = (words[f"layout_{axis[:-1]}_{of}"] * size for of in ("row", "position"))
        with function.loop(0, count) as begin:  # over rows of tiles, as far as they are in the block
            all_rows = (first + begin.index) // across
            column = first + begin.index - all_rows * across
            begin.step = at_most(across - column, count - begin.index)
            all_phases = all_rows // down
            row, lines_of_phases = all_rows - all_phases * down, all_phases // dilation_across
            sample = lines_of_phases // dilation_down
            phases = lines_of_phases - sample * dilation_down, all_phases - lines_of_phases * dilation_across
            lines = {axis: TileRow(start + begin.index * apart, apart, position * SIDE, position)}
            for image, (of_sample, of_row, of_column) in steps.items():
                at = ats[image] + sample * of_sample + phases[0] * of_row + phases[1] * of_column
                of_row, of_column = of_row * dilation_down, of_column * dilation_across
                at += row * of_row * STEP + column * of_column * STEP
                lines[image] = TileRow(at, of_column * STEP, of_row, of_column, is_image=True)
            results_down, results_across = (results_of(phase, *side) for phase, side in zip(phases, sides, strict=True))
            is_below = at_least((row + 1) * STEP - results_down, 0)
            for elements in pieces.cases(function, sizes):
                with function.loop(0, begin.step) as k:
                    is_behind = at_least((column + k.index + 1) * STEP - results_across, 0)
                    write(TileBody(function, counts, elements, self.lanes, lines, k.index, (is_below, is_behind)))
        function.end()
        return function

    def product(self, is_gradient: bool) -> Function:
        """Returns the function `product(record)`: c = a b at each position of a piece, or c + a b if `reads_start` is
        1. b is the panels of the piece, or slopes."""
        function, size, tall = Function(self.module, "product", 1), self.size, self.lanes.machine.tile_rows
        address = function.parameters[0]
        words = function.record(address, self.fields)
        tiles = {
            (size.height, size.columns(self.lanes)): tile.tile(self.module, size, self.lanes, self.fields)
            for size in with_halves(sizes(self.lanes.machine), self.lanes.machine)
        }
        rows, width, has_halves = words["rows_a"], words["width"], self.lanes.machine.has_halves
        counts = [words[f"elements_{side}"] + 1 for side in SIDES]
        with (
            function.loop(0, counts[0]) as down,
            function.loop(0, counts[1]) as across,
            function.loop(0, words["outputs"], width) as column,
        ):
            # a piece multiplies in the first positions of a side and in the last
            row, line = (
                (k.index.equals(count - 1)).choose(SIDE - 1, k.index)
                for k, count in zip((down, across), counts, strict=True)
            )
            position = row * SIDE + line
            a, c = (words[name] + position * words[f"{name}_position"] * size for name in "ac")
            if is_gradient:
                b = words["b"] + position * words["b_position"] * size
            else:
                b = words["b"] + (down.index * words["panels_down"] + across.index * words["panels_across"]) * size
            words["panel"] = b + column.index // width * words["b_panel"] * size
            # rows of the kernel's memory are whole vectors, and stores of whole ones are faster
            left, unit = words["outputs"] - column.index, self.lanes.half.count if has_halves else self.lanes.count
            words["columns"] = at_most((left + unit - 1) // unit * unit, width)
            later.choose(function, words, words["panel"])
            with function.loop(0, rows) as i:
                i.step = taken = rows_of_next(rows - i.index, tall)
                from_a = a + i.index * words["a_row"] * size
                to = c + (i.index * words["rows_c"] + column.index) * size
                at = from_a, words["a_step"], to, to
                multiply_tile(function, address, tiles, words["columns"], taken, at)
                later.move(words, 1)
        function.end()
        return function
