"""The kernels of Winograd's convolution; program/winograd.py has the formula and the arguments.

    for block of tiles, through all samples of a call:
        for piece of the window:
            for tile in block:
                transform its elements: a row in each of 16 matrices, one for each position in a tile
            for position of the piece:
                products[position] += matrices[position] x transformed weights[position]  # by products/tile.py
        for tile in block:
            transform its products back to STEP x STEP results

The gradient multiplies by the transformed slopes (the gradient of the results) in place of weights, adds the products
of all blocks, and transforms the sums back at the end: for one part of channels and of outputs after another, whose
sums stay in the second cache, as a block does, and for one piece after another. All this is done for each group of the
convolution.

A result depends on its own tile alone, and a sum runs over tiles in order: bits do not depend on how samples or
channels are shared out, nor on how many tiles a block has, nor on the size of groups.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.program.winograd import LONGEST, PIECES, STEP, Part
from netc.compiler.targets.cpu.convolutions import winograd_transforms as transforms
from netc.compiler.targets.cpu.convolutions.winograd_blocks import WinogradWriter
from netc.compiler.targets.cpu.convolutions.winograd_tiles import LARGEST, SIDES, Elements, Pair, TileBody
from netc.compiler.targets.cpu.convolutions.winograd_transforms import Sides, Square
from netc.compiler.targets.cpu.llvm.function import Function, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.machine import VECTORS, Machine

_RESULTS = (range(STEP), range(STEP))


def winograd(symbol: str, part: Part, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with a kernel of an element type: the function `symbol` of program/winograd.py."""
    kernel = _Winograd(ir.Module(symbol), symbol, part, Lanes(dtype, machine))
    match part:
        case "transform":
            kernel.transform()
        case "convolve":
            kernel.convolve()
        case "gradient":
            kernel.gradient()
    kernel.run.end()
    return kernel.module


class _Winograd(WinogradWriter):
    """Writes the three kernels."""

    def transform(self) -> None:
        """Transforms weights, and stores them in panels."""
        words, run, size = self.words, self.run, self.size
        vectors, width = Vectors(run, self.lanes), words["width"]
        with (
            self.each_group(),
            self.pieces_of("down"),
            self.pieces_of("across"),
            run.loop(0, words["outputs"], width) as panel,
            run.loop(0, words["channels"]) as channel,
            run.loop(0, at_most(words["outputs"] - panel.index, width), self.lanes.count) as column,
        ):
            weights, down, across = self.weights_of_piece(words)
            weights += (channel.index * words["weights_channel"] + panel.index + column.index) * size
            element = panel.index // width * words["panels_panel"] + channel.index * width + column.index
            panels = self.panels_of_piece(words) + element * size
            positions = words["panels_down"] * size, words["panels_across"] * size
            for elements in Elements.of(words).cases(run):
                square = Square(weights, down, across, _lines(elements)).load(vectors)
                result = transforms.transformed(run.builder, square, transforms.of_weights)
                transforms.store(vectors, result, Square(panels, *positions, _lines(elements, 1)))

    def convolve(self) -> None:
        """Convolves images, block by block, and adds the start."""
        words, run = self.words, self.run
        transform_tiles = self.over_tiles_of_pieces("transform_tiles", ["image"], "channels", _transform_tile)
        store_results = self.over_tiles("store_results", ["result"], "outputs", _transform_back)
        add_results = self.over_tiles("add_results", ["result", "start"], "outputs", _transform_back)
        multiply = self.product(is_gradient=False)
        self.begin(is_gradient=False)
        words["a_row"], words["a_step"], words["depth"] = words["layout_channel_row"], 1, words["channels"]
        words["b_panel"], words["panel_row"] = words["panels_panel"], words["width"]
        words["c"], words["rows_c"] = self.at("outputs"), words["layout_output_row"]
        start_row = words["start_row"]  # an argument, and where a tile reads its start, a variable
        self.clear_results()
        with self.each_group(), self.blocks() as count:
            words["rows_a"], words["reads_start"], words["start_row"] = count, 0, words["rows_c"]
            with self.pieces():
                words["b"] = self.panels_of_piece(words)
                transform_tiles(run, self.address)
                multiply(run, self.address)
                words["reads_start"] = 1
            words["start_row"] = start_row
            is_plain = words["has_start"].equals(0)
            with run.when(is_plain):
                store_results(run, self.address)
            with run.when(~is_plain):
                add_results(run, self.address)

    def clear_results(self) -> None:
        """Clears the products of a block, if there are positions in which no piece multiplies: if the first, which is
        the largest, has not all."""
        words, run = self.words, self.run
        sides = [(words[f"window_{side}"], words[f"stride_{side}"]) for side in SIDES]
        is_short = [window <= stride * (LONGEST - 1) for window, stride in sides]
        count = words["layout_end"] - words["layout_outputs"]
        with run.when(is_short[0] | is_short[1]), run.loop(0, count, self.lanes.count) as element:
            Vectors(run, self.lanes).store(self.lanes.zero, self.at("outputs") + element.index * self.size)

    def gradient(self) -> None:
        """Adds up the gradients of transformed weights over all blocks, then transforms them back, for each part and
        piece."""
        words, run = self.words, self.run
        transform_tiles = self.over_tiles_of_pieces("transform_tiles", ["image"], "channels", _transform_tile)
        transform_slopes = self.over_tiles_of_pieces("transform_slopes", ["slopes"], "outputs", _transform_slopes)
        multiply, store_sums = self.product(is_gradient=True), self.store_sums()
        words["width"] = words["b_panel"] = self.run.number(VECTORS * self.lanes.count)
        self.begin(is_gradient=True)
        row = words["layout_output_row"]
        words["a_row"], words["a_step"] = 1, words["layout_channel_row"]
        words["b"], words["b_position"] = self.at("outputs"), words["layout_output_position"]
        words["c"], words["c_position"] = self.at("sums"), row * words["channel_group"]
        words["panel_row"] = words["rows_c"] = words["start_row"] = row
        with self.each_group(), self.parts(), self.pieces():
            words["rows_a"], words["reads_start"] = words["channels"], 0
            with self.blocks() as count:
                words["depth"] = count
                for function in (transform_tiles, transform_slopes, multiply):
                    function(run, self.address)
                words["reads_start"] = 1
            store_sums(run, self.address)

    def store_sums(self) -> Function:
        """Returns the function `store_sums(record)`, which writes the gradient of the weights of a piece."""
        function = Function(self.module, "store_sums", 1)
        words, vectors, size = (
            function.record(function.parameters[0], self.fields),
            Vectors(function, self.lanes),
            self.size,
        )
        weights, down, across = self.weights_of_piece(words)
        for elements in Elements.of(words).cases(function):
            with (
                function.loop(0, words["channels"]) as channel,
                function.loop(0, words["outputs"], self.lanes.count) as column,
            ):
                at = words["c"] + (channel.index * words["rows_c"] + column.index) * size
                to = weights + (channel.index * words["weights_channel"] + column.index) * size
                sums = Square.of_positions(at, words["c_position"] * size, _positions(elements)).load(vectors)
                result = transforms.transformed(function.builder, sums, transforms.of_sums)
                square = Square(to, down, across, _lines(elements))
                transforms.store(vectors, result, square, words["outputs"] - column.index)
        function.end()
        return function


def _lines(elements: Pair, more: int = 0) -> Sides:
    """The lines of a piece, or `more`."""
    down, across = elements
    return range(down + more), range(across + more)


def _positions(elements: Pair) -> Sides:
    """The positions of a tile in which a piece multiplies."""
    down, across = elements
    return PIECES[down], PIECES[across]


def _transform_tile(body: TileBody) -> None:
    """Transforms a tile of the image for a piece of the window."""
    lines, positions = _lines(body.elements, 1), _positions(body.elements)

    def write(vectors: Vectors, first: Word) -> None:
        square = body.square("image", first, lines).load(vectors)
        result = transforms.transformed(body.builder, square, transforms.of_tile)
        transforms.store(vectors, result, body.square("channels", first, positions))

    body.each_vector("channels", write, halves=_has_halves(body))


def _transform_slopes(body: TileBody) -> None:
    """Transforms the slopes (the gradient of the results) of a tile, in the positions of a piece."""
    positions = _positions(body.elements)

    def write(vectors: Vectors, first: Word) -> None:
        square = _without_lines_beyond(body, vectors, body.square("slopes", first, _RESULTS))
        all_positions = transforms.transformed(body.builder, square, transforms.of_slopes)
        result = [[all_positions[row][column] for column in positions[1]] for row in positions[0]]
        transforms.store(vectors, result, body.square("outputs", first, positions))

    body.each_vector("outputs", write, halves=_has_halves(body))


def _has_halves(body: TileBody) -> bool:
    """Whether a rest takes half a vector: that of the largest piece, since code for all would double what is
    compiled."""
    return body.elements == LARGEST


def _without_lines_beyond(body: TileBody, vectors: Vectors, square: Square) -> list[list[Any]]:
    """Loads slopes, with zeros where the tile sticks out of the image."""
    rows, zero = square.load(vectors), vectors.lanes.zero
    is_below, is_behind = (beyond.equals(1).value for beyond in body.beyond)
    for row in rows:
        row[-1] = body.builder.select(is_behind, zero, row[-1])
    rows[-1] = [body.builder.select(is_below, zero, vector) for vector in rows[-1]]
    return rows


def _transform_back(body: TileBody) -> None:
    """Transforms products back to the results of a tile, and adds the start if there is one."""

    def write(vectors: Vectors, first: Word) -> None:
        square = body.square("outputs", first).load(vectors)
        result = transforms.transformed(body.builder, square, transforms.of_products)
        if "start" in body.lines:
            start = body.square("start", first, _RESULTS).load(vectors)
            result = transforms.added(body.builder, start, result)
        to = body.square("result", first, _RESULTS)
        transforms.store(vectors, result, to, body.counts["outputs"] - first)

    body.each_vector("outputs", write)
