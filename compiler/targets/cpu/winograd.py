"""The kernels of Winograd's convolution; program/winograd.py has the formula and the arguments.

    for block of tiles, through all samples of a call:
        for tile in block:
            transform its SIDE x SIDE elements: a row in each of 16 matrices, one for each position in a tile
        for position:
            products[position] = matrices[position] x transformed weights[position]     # register tiles (tile.py)
        for tile in block:
            transform its products back to STEP x STEP results

The gradient multiplies by the transformed slopes (the gradient of the results) in place of weights, adds the products
of all blocks, and transforms the sums back at the end: for one part of channels and of outputs after another, whose
sums stay in the second cache, as a block does. All this is done for each group of the convolution.

A result depends on its own tile alone, and a sum runs over tiles in order: bits do not depend on how samples or
channels are shared out, nor on how many tiles a block has, nor on the size of groups.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from netc.compiler.program.winograd import SIDE, STEP, WINDOW, Part
from netc.compiler.targets.cpu import winograd_transforms as transforms
from netc.compiler.targets.cpu.function import Function, Word, at_most
from netc.compiler.targets.cpu.vectors import Lanes, Vectors
from netc.compiler.targets.cpu.winograd_blocks import TileBody, WinogradWriter
from netc.compiler.targets.cpu.winograd_transforms import Square
from netc.compiler.targets.machine import VECTORS, Machine

Load = Callable[[TileBody, Vectors, Square], list[list[Any]]]


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
            run.loop(0, words["outputs"], width) as panel,
            run.loop(0, words["channels"]) as channel,
            run.loop(0, at_most(words["outputs"] - panel.index, width), self.lanes.count) as column,
        ):
            element = channel.index * words["weights_channel"] + panel.index + column.index
            sides = words["weights_down"] * size, words["weights_across"] * size
            weights = Square(words["weights"] + element * size, *sides, WINDOW).load(vectors)
            element = panel.index // width * words["panels_panel"] + channel.index * width + column.index
            to = Square.of_positions(words["panels"] + element * size, words["panels_position"] * size)
            result = transforms.transformed(run.builder, weights, transforms.of_weights)
            transforms.store(vectors, result, to)

    def convolve(self) -> None:
        """Convolves images, block by block, and adds the start."""
        words, run = self.words, self.run
        transform_tiles = self.over_tiles("transform_tiles", ["image"], "channels", _transform_tile)
        store_results = self.over_tiles("store_results", ["result"], "outputs", _transform_back)
        add_results = self.over_tiles("add_results", ["result", "start"], "outputs", _transform_back)
        multiply = self.product()
        self.begin(is_gradient=False)
        words["a_row"], words["a_step"], words["depth"] = words["layout_channel_row"], 1, words["channels"]
        words["b_position"], words["b_panel"] = words["panels_position"], words["panels_panel"]
        words["panel_row"] = words["width"]
        words["c"], words["rows_c"] = self.at("outputs"), words["layout_output_row"]
        with self.each_group(), self.blocks() as count:
            words["b"], words["rows_a"] = words["panels"], count
            transform_tiles(run, self.address)
            multiply(run, self.address)
            is_plain = words["has_start"].equals(0)
            with run.when(is_plain):
                store_results(run, self.address)
            with run.when(~is_plain):
                add_results(run, self.address)

    def gradient(self) -> None:
        """Adds up the gradients of transformed weights over all blocks, then transforms them back, part by part."""
        words, run = self.words, self.run
        transforms_of_block = (
            self.over_tiles("transform_tiles", ["image"], "channels", _transform_tile),
            self.over_tiles("transform_slopes", ["slopes"], "outputs", _transform_slopes),
        )
        multiply, store_sums = self.product(), self.store_sums()
        words["width"] = words["b_panel"] = self.run.number(VECTORS * self.lanes.count)
        self.begin(is_gradient=True)
        row = words["layout_output_row"]
        words["a_row"], words["a_step"] = 1, words["layout_channel_row"]
        words["b"], words["b_position"] = self.at("outputs"), words["layout_output_position"]
        words["c"], words["c_position"] = self.at("sums"), row * words["channel_group"]
        words["panel_row"] = words["rows_c"] = words["start_row"] = row
        with self.each_group(), self.parts():
            words["rows_a"], words["reads_start"] = words["channels"], 0
            with self.blocks() as count:
                words["depth"] = count
                for function in (*transforms_of_block, multiply):
                    function(run, self.address)
                words["reads_start"] = 1
            store_sums(run, self.address)

    def store_sums(self) -> Function:
        """Returns the function `store_sums(record)`, which writes the gradient of the weights."""
        function = Function(self.module, "store_sums", 1)
        words, vectors, size = (
            function.record(function.parameters[0], self.fields),
            Vectors(function, self.lanes),
            self.size,
        )
        sides = words["weights_down"] * size, words["weights_across"] * size
        with (
            function.loop(0, words["channels"]) as channel,
            function.loop(0, words["outputs"], self.lanes.count) as column,
        ):
            at = words["c"] + (channel.index * words["rows_c"] + column.index) * size
            sums = Square.of_positions(at, words["c_position"] * size).load(vectors)
            element = channel.index * words["weights_channel"] + column.index
            to = Square(words["weights"] + element * size, *sides, WINDOW)
            result = transforms.transformed(function.builder, sums, transforms.of_sums)
            transforms.store(vectors, result, to, words["outputs"] - column.index)
        function.end()
        return function


def _transform_tile(body: TileBody) -> None:
    """Transforms a tile of the image."""
    _transform(body, "image", "channels", SIDE, transforms.of_tile)


def _transform_slopes(body: TileBody) -> None:
    """Transforms the slopes (the gradient of the results) of a tile."""
    _transform(body, "slopes", "outputs", STEP, transforms.of_slopes, _without_lines_beyond)


def _without_lines_beyond(body: TileBody, vectors: Vectors, square: Square) -> list[list[Any]]:
    """Loads slopes, with zeros where the tile sticks out of the image."""
    rows, zero = square.load(vectors), vectors.lanes.zero
    is_below, is_behind = (beyond.equals(1).value for beyond in body.beyond)
    for row in rows:
        row[-1] = body.builder.select(is_behind, zero, row[-1])
    rows[-1] = [body.builder.select(is_below, zero, vector) for vector in rows[-1]]
    return rows


def _loaded(_: TileBody, vectors: Vectors, square: Square) -> list[list[Any]]:
    return square.load(vectors)


def _transform(
    body: TileBody, image: str, axis: str, side: int, transform: Callable[..., Any], load: Load = _loaded
) -> None:
    """Transforms the square of a tile and stores the result, for all vectors of an axis, "channels" or "outputs"."""

    def write(vectors: Vectors, first: Word) -> None:
        square = load(body, vectors, body.square(image, first, side))
        result = transforms.transformed(body.builder, square, transform)
        transforms.store(vectors, result, body.square(axis, first, SIDE))

    body.each_vector(axis, write)


def _transform_back(body: TileBody) -> None:
    """Transforms products back to the results of a tile, and adds the start if there is one."""

    def write(vectors: Vectors, first: Word) -> None:
        square = body.square("outputs", first, SIDE).load(vectors)
        result = transforms.transformed(body.builder, square, transforms.of_products)
        if "start" in body.lines:
            start = body.square("start", first, STEP).load(vectors)
            result = transforms.added(body.builder, start, result)
        to = body.square("result", first, STEP)
        transforms.store(vectors, result, to, body.counts["outputs"] - first)

    body.each_vector("outputs", write)
