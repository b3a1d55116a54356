"""The first convolution of a trained model, for a run's page: its kernels, and its maps of one sample."""

from collections.abc import Iterator

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.convolution import conv2d
from netc.compiler.passes.specialise import specialise
from netc.compiler.reference import evaluate
from netc.runtime.data.stored import Array
from netc.runtime.insight.pictures import as_image, first_of, png, thinned
from netc.runtime.insight.sections import Cards, Heading, Section, left_out, one_of_every
from netc.runtime.runs.run import Run

_MOST_MAPS = 32
_MAP = ResultKind.VALUE.named("map")


def convolution_sections(run: Run, part: str) -> Iterator[Section]:
    """The kernels, and the maps of the first sample of a part; nothing if no convolution has learned kernels."""
    graph = run.model.graph
    convolution = _first(graph)
    if convolution is None:
        return
    kernels = _kernels(run, convolution)
    yield Heading(f"The kernels of the first convolution, line {convolution.span.line}")
    yield Cards.of(png(kernels[..., n], centred=True) for n in range(min(kernels.shape[-1], _MOST_MAPS)))
    yield from left_out(kernels.shape[-1], _MOST_MAPS, "kernels")
    inner = specialise(graph.subgraph({_MAP: convolution})[0], training=False)
    fields = run.load_data().parts[part]
    names = [leaf.name for leaf in inner.values(Role.INPUT)]
    sample = {name: np.asarray(first_of(fields[name])) for name in names}
    maps = evaluate(inner, {**run.program.persistent, **sample}, 1)[str(_MAP)][0]
    image = next((image for name in names if (image := as_image(sample[name])) is not None), None)
    pictures = [png(image[0])] if image is not None else []
    pictures += [png(maps[..., n]) for n in range(min(maps.shape[-1], _MOST_MAPS))]
    yield Heading(f"What they make of row {run.load_data().rows[part][0]} of {part}")
    yield Cards.of(pictures)
    yield from one_of_every(thinned(maps, first=0)[1], "pixels, along each side,")


def _first(graph: Graph) -> Value | None:
    """The first convolution of data whose kernels are a parameter."""
    parameters = {*graph.values(Role.PARAMETER)}
    convolutions = (value for value in graph.values(conv2d) if value.type.is_batched)
    return next((value for value in convolutions if value.operands[1] in parameters), None)


def _kernels(run: Run, convolution: Value) -> Array:
    """The kernels [height, width, kernel] as means over the channels; of one or three channels as they are."""
    weights = run.program.parameters[convolution.operands[1].name]
    return weights.mean(axis=2) if weights.shape[2] not in (1, 3) else weights
