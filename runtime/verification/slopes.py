"""Check `gradients`: derivatives against central differences of the loss, in f64, on the graph before any pass.

The operand of `stop_gradient` is a constant for the differences, as it is for the gradient: it is recorded once, when
nothing is moved, and put back afterwards. A direction that crosses a kink, where one-sided slopes do not converge as
the steps shrink, is not judged.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from msgspec import Struct

from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import TRAINED, Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.operations.elementwise import stop_gradient
from netc.compiler.passes.prepare import derived
from netc.dsl.source import NOWHERE, Span
from netc.runtime.data.stored import Array
from netc.runtime.verification.comparison import compared
from netc.runtime.verification.passes import situation_of
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.stages import for_training
from netc.runtime.verification.subject import Difference, Subject, has_loss

_NAME = "gradients"
Direction = Mapping[Value, Array]  # by how much each element of some leaves moves, for a length of 1
_FLOPS, _EVALUATIONS = 2e10, 9  # the cost of all slopes together, and roughly how often a slope evaluates the loss
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # from the largest, until one is precise, or the next one agrees with it
_DIRECTIONS = 2
_TOLERANCE = 1e-5  # relative to the slope, or to the terms that it is the sum of
_ROUNDING = 1e-14  # of a loss, relative to its terms


def check(subject: Subject) -> Iterator[Difference]:
    """The gradient of the total loss for every parameter and float input, and each `grad` in the file."""
    if not has_loss(subject.model):
        return
    model = in_f64(subject.model)
    situation = situation_of(Subject(model, subject.fields, subject.seed))
    graph = situation.at_length(for_training(model.graph.of(*TRAINED), is_training=True))
    yield from _of_the_loss(model, situation, derived(graph))
    yield from _of_the_file(situation, graph)


def _of_the_loss(model: Model, situation: Situation, graph: Graph) -> Iterator[Difference]:
    """All parameters together along one direction, then each alone along several.

    In a large model only some parameters are moved alone, along one direction.
    """
    inputs = tuple(name for name, type_ in model.inputs.items() if type_.is_float)
    gradient_graph = pipeline.run_passes(pipeline.gradient_graph(model, inputs))
    computed = gradient_graph.select(ResultKind.GRADIENT, situation.results(gradient_graph))
    leaves = {leaf.name: leaf for leaf in graph.values() if leaf.name}
    names = [name for name in (*model.parameters, *inputs) if name in computed and name in leaves]
    gradients = {leaves[name]: computed[name] for name in names}
    replay = Replay(graph, situation)
    spans = {name: info.span for name, info in model.trainables.items()} | dict(model.declared)

    def loss(moved: Mapping[Value, Array]) -> float:
        return total(graph, replay.values(moved))

    random = np.random.default_rng(_seed(situation.seed, "all"))
    together = {leaf: np.asarray(random.standard_normal(gradient.shape)) for leaf, gradient in gradients.items()}
    disagreement = _disagreement(Slope.of(loss, replay.base, together), gradients, together)
    affordable = _affordable(graph, situation)
    is_small = affordable >= len(names) * (_DIRECTIONS + 1)
    step = 1 if is_small or disagreement is not None else -(-len(names) // affordable)
    is_explained = False
    for name in names[::step]:
        leaf, random = leaves[name], np.random.default_rng(_seed(situation.seed, name))
        for direction in itertools.islice(_directions(gradients[leaf], random), None if is_small else 1):
            detail = _disagreement(Slope.of(loss, replay.base, {leaf: direction}), gradients, {leaf: direction})
            if detail is not None:
                is_explained = True
                span = _span_of(graph, leaf, spans.get(name))
                yield Difference(_NAME, f"the derivative of the loss: gradient.{name}", span, detail)
                break
    if disagreement is not None and not is_explained:
        span = next((value.span for value in graph.results_of(ResultKind.LOSS).values()), NOWHERE)
        yield Difference(_NAME, "the derivative of the loss for all parameters together", span, disagreement)


def _affordable(graph: Graph, situation: Situation) -> int:
    """The number of slopes that do not take too long, from the cost of the forward graph."""
    _, sizes = situation.leaves(graph)
    return int(np.clip(_FLOPS / max(flops(graph, sizes) * _EVALUATIONS, 1), 8, 1000))


def _of_the_file(situation: Situation, graph: Graph) -> Iterator[Difference]:
    """Each `grad(y, x)`: the change of y when the value x is moved."""
    graph = graph.subgraph(graph.results)[0]
    asked = graph.values(Role.DERIVATIVE)
    for i, value in enumerate(asked):
        y, x = value.operands
        graph.results |= dict(zip(_keys(i), (value, y, x), strict=True))
    if not asked:
        return
    written = derived(graph)
    replay = Replay(written, situation)
    for i, value in enumerate(asked):
        gradient, y, x = (written.results[key] for key in _keys(i))
        array = replay.base[gradient]

        def change(moved: Mapping[Value, Array], y: Value = y) -> float:
            return float(replay.values(moved)[y].sum())

        random = np.random.default_rng(_seed(situation.seed, f"grad {i}"))
        for direction in _directions(array, random):
            slope = Slope.of(change, replay.base, {x: direction})
            detail = _disagreement(slope, {x: array}, {x: direction})
            if detail is not None:
                yield Difference(_NAME, f"after `derive`: the value of `{value.span.text}`", value.span, detail)
                break


def _keys(i: int) -> list[Result]:
    """The results by which the number `i` of the `grad` values is followed: itself, and its operands y and x."""
    return [ResultKind.VALUE.named(f"{name}.{i}") for name in ("grad", "y", "x")]


def _seed(seed: int, name: str) -> list[int]:
    """A seed for each name."""
    return [seed, *name.encode()]


def _span_of(graph: Graph, leaf: Value, declared: Span | None) -> Span:
    """The span at which a parameter is declared in the user's file, or else first used there."""
    if declared is not None and not declared.source.is_library:
        return declared
    users = [user.span for user in graph.users(leaf) if not user.span.source.is_library]
    return users[0] if users else declared or leaf.span


def _directions(gradient: Array, random: np.random.Generator) -> Iterator[Array]:
    """Random directions, then the one of the element with the largest gradient alone."""
    for _ in range(_DIRECTIONS):
        yield np.asarray(random.standard_normal(gradient.shape))
    if gradient.size > 1:
        alone = np.zeros(gradient.shape)
        alone.flat[int(np.abs(np.nan_to_num(gradient)).argmax())] = 1.0
        yield alone


def total(graph: Graph, memory: Mapping[Value, Array]) -> float:
    """The loss that training minimises: the sum of the losses, each as its mean or as its weighted mean."""
    losses = 0.0
    for name, value in graph.results_of(ResultKind.LOSS).items():
        weight = graph.weight_of(ResultKind.LOSS.named(name))
        array = memory[value]
        losses += float(array.mean() if weight is None else array.sum() / memory[weight].sum())
    return losses


class Replay:
    """A graph that is evaluated repeatedly with some values moved, and the results of `stop_gradient` kept constant."""

    def __init__(self, graph: Graph, situation: Situation) -> None:
        self.graph, self.situation = graph, situation
        self.stopped: dict[Value, list[Array]] = {}
        self.base = situation.values(graph, self._record)

    def _record(self, value: Value, operands: list[Array], array: Array) -> Array:
        if value.definition is stop_gradient:
            self.stopped.setdefault(value, []).append(array)
        return array

    def values(self, moved: Mapping[Value, Array]) -> Mapping[Value, Array]:
        """The arrays of all values, with those of `moved` in place of the computed ones."""
        pending = {value: iter(arrays) for value, arrays in self.stopped.items()}

        def hook(value: Value, operands: list[Array], array: Array) -> Array:
            if value in moved:
                return moved[value]
            return next(pending[value]) if value in pending else array

        return self.situation.values(self.graph, hook)


class Slope(Struct, frozen=True):
    """A directional derivative by differences: its value and its error.

    `is_known` is false where the function is not smooth enough to tell.
    """

    value: float
    error: float
    is_known: bool

    @classmethod
    def of(
        cls, function: Callable[[Mapping[Value, Array]], float], at: Mapping[Value, Array], direction: Direction
    ) -> "Slope":
        """The slope by the largest step size that is precise, or else by the best pair of neighbouring step sizes.

        Each step size is compared with its half to see the error and kinks. Behind many kinks (a layer of relus) these
        two agree by chance in one of some hundred directions. Such a slope differs from that of the next smaller step,
        which meets a tenth of the kinks.
        """
        best = larger = cls(0.0, np.inf, False)

        def moved(length: float) -> float:
            return function({leaf: at[leaf] + length * along for leaf, along in direction.items()})

        middle = moved(0.0)
        for step in _STEPS:
            slope = cls._by(moved, step, middle)
            if slope.is_known and slope.error <= 1e-7 * (abs(slope.value) + 1e-3):
                return slope
            if larger.agrees_with(slope):
                best = min(best, larger, slope, key=lambda candidate: candidate.error)
            larger = slope
        return best

    def agrees_with(self, other: "Slope") -> bool:
        """Whether two slopes, both known, differ by no more than their errors."""
        return self.is_known and other.is_known and abs(self.value - other.value) <= self.error + other.error

    @classmethod
    def _by(cls, moved: Callable[[float], float], step: float, middle: float) -> "Slope":
        """The slope by one step size: central differences of the step and its half, extrapolated (Richardson)."""
        ahead, behind, half_ahead, half_behind = (moved(length) for length in (step, -step, step / 2, -step / 2))
        points = np.array([ahead, behind, half_ahead, half_behind, middle])
        if not np.isfinite(points).all():
            return cls(0.0, np.inf, False)
        rounding = _ROUNDING * max(float(np.abs(points).max()), 1e-3) / step
        central, half = (ahead - behind) / (2 * step), (half_ahead - half_behind) / step
        value = (4 * half - central) / 3
        # at a kink the slopes of the two sides stay apart; on a smooth function half the step halves their distance
        gap = (ahead - middle) / step - (middle - behind) / step
        half_gap = (half_ahead - middle - (middle - half_behind)) / (step / 2)
        kink = abs(2 * half_gap - gap)  # the part of the gap that is not due to curvature
        error = abs(central - half) + kink + 4 * rounding
        is_smooth = abs(half_gap) <= 0.6 * abs(gap) + 8 * rounding
        is_precise = error <= 1e-3 * max(abs(central), abs(half)) + 16 * rounding
        return cls(value, error, is_smooth and is_precise)


def _disagreement(slope: Slope, gradients: Mapping[Value, Array], direction: Direction) -> str | None:
    """A sentence if the gradient's slope along a direction is not that of the differences, or None."""
    if not slope.is_known:
        return None
    compared()
    products = [gradients[leaf] * along for leaf, along in direction.items()]
    value, terms = (float(sum(part.sum() for part in parts)) for parts in (products, map(np.abs, products)))
    allowed = _TOLERANCE * max(abs(slope.value), terms * 1e-3) + 10 * slope.error
    if abs(value - slope.value) <= allowed:
        return None
    return f"along a random direction the gradient is {value:.9g}, and differences of the loss give {slope.value:.9g}"
