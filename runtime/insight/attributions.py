"""Attributions of a prediction to its inputs: integrated gradients (Sundararajan, Taly and Yan 2017) of a run.

The path goes from a baseline, where every number that enters the model is 0, to a sample: for standardized columns
that is their mean, for pictures black, for words and letters a vector of zeros. For the places of `one_hot` it is not
0, which would be a row without a category, but the same share of each category.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.analysis.attribution import SCORE, SELECTOR, attribution
from netc.compiler.analysis.units import units_of_values
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES
from netc.compiler.model import Model
from netc.runtime.data.stored import Array, Bytes, Field, Ragged, taken
from netc.runtime.execution.fields import Fields
from netc.runtime.runs.run import Run
from netc.runtime.target_outputs import distributions

POINTS, FEWEST_POINTS = 100, 10  # of the path, at which gradients are computed; few for large samples
_MOST_NUMBERS = 1 << 25  # of all inputs at all points together
_AT_ONCE = 1 << 23  # of these, at once in memory


class Attributed(Struct, frozen=True):
    """The attributions of one sample.

    `entry` is the entry of the output that is explained, None if the output is one number; `score` is its value for the
    sample, and `baseline` for the baseline. `inputs` has an array for each input with the shape of the sample, or for
    an input of classes with a number for each of its entries: its part of `score - baseline`.
    """

    output: str
    entry: int | None
    score: float
    baseline: float
    inputs: Mapping[str, Array]

    @property
    def gap(self) -> float:
        """`score - baseline` without the sum of all attributions: the error of the sum over finitely many points."""
        return self.score - self.baseline - sum(float(array.sum()) for array in self.inputs.values())


def explained_output(model: Model) -> str | None:
    """The output that is explained unless another one is asked for; None if there is none.

    It is the one that holds the probabilities of the first target, or else the first one in the units of a target.
    """
    probabilities = [entry.output for entry in distributions(model).values()]
    units = [name for name in model.outputs if name in units_of_values(model)]
    names = [name for name in (*probabilities, *units) if may_be_explained(model, name)]
    return names[0] if names else None


def may_be_explained(model: Model, output: str) -> bool:
    """Whether a named value is floats with one fixed axis at most."""
    type_ = model.values[output].type
    return type_.is_float and type_.lead == 1 and not type_.is_held and type_.rank <= 2


class Explainer:
    """Explains an output of a run. `output` is one that `may_be_explained`."""

    def __init__(self, run: Run, output: str, points: int = POINTS) -> None:
        graphs = attribution(run.model, output)
        if graphs is None:
            raise ValueError(f"`{output}` depends on no number of the inputs")
        self.run, self.output, self.graphs, self._points = run, output, graphs, points

    def explain(self, fields: Fields, sample: int) -> Attributed:
        """The attributions of one sample of prepared fields."""
        graphs = self.graphs
        of_sample = {name: _chosen(fields[name], np.array([sample])) for name in self.run.model.inputs}
        starts = {name: of_sample[name] for name in graphs.origins if name in of_sample}
        starts |= (
            _run(self.run, ("starts", self.output), graphs.starts, of_sample, 1) if graphs.starts is not None else {}
        )
        value = np.asarray(self.run.program.predictor.predict(of_sample, outputs=[self.output])[self.output])[0]
        entry = int(np.argmax(value)) if value.ndim else None
        selector = np.zeros(value.shape, DTYPES[graphs.selector.dtype].numpy)
        selector[... if entry is None else entry] = 1
        scores, gradients = self._along_the_path(starts, of_sample, selector)
        inputs: dict[str, Array] = {}
        for name, origin in graphs.origins.items():
            sample_values = _first(starts[name]).astype(np.float64)
            part = gradients[name] * (sample_values - self._baseline(name, sample_values))
            if name != origin:  # an embedded class: one number for each
                axes = _first(of_sample[origin]).ndim
                part = part.reshape(*part.shape[:axes], -1).sum(axis=-1)
            inputs[origin] = inputs[origin] + part if origin in inputs else part
        return self._in_units(Attributed(self.output, entry, float(scores[1]), float(scores[0]), inputs))

    def _along_the_path(
        self, starts: Fields, of_sample: Fields, selector: Array
    ) -> tuple[tuple[float, float], dict[str, Array]]:
        """The scores at both ends of the path, and the mean gradient along it at each point of the graph.

        The mean is Gauss-Legendre quadrature. Inputs that are not points are the same everywhere on the path.
        """
        origins = self.graphs.origins
        size = sum(_first(starts[name]).size for name in origins) or 1
        nodes, weights = np.polynomial.legendre.leggauss(max(min(self._points, _MOST_NUMBERS // size), FEWEST_POINTS))
        points, weights = np.concatenate([[0.0, 1.0], (nodes + 1) / 2]), np.concatenate([[0.0, 0.0], weights / 2])
        scores, gradients = list[float](), dict[str, Array]()
        step = max(1, _AT_ONCE // size)
        for begin in range(0, len(points), step):
            chunk = slice(begin, begin + step)
            count = len(points[chunk])
            same = {
                name: _chosen(field, np.zeros(count, np.int64))
                for name, field in of_sample.items()
                if name not in origins
            }
            along = {
                name: _along(starts[name], points[chunk], self._baseline(name, _first(starts[name])))
                for name in origins
            }
            chosen = np.broadcast_to(selector, (count, *selector.shape)).copy()
            fields = {**same, **along, SELECTOR: chosen}
            results = _run(self.run, ("gradients", self.output), self.graphs.gradients, fields, count)
            scores += np.asarray(results[str(SCORE)], np.float64).tolist()
            for name in origins:
                part = _weighted(results[str(ResultKind.GRADIENT.named(name))], weights[chunk])
                gradients[name] = gradients[name] + part if name in gradients else part
        return (scores[0], scores[1]), gradients

    def _baseline(self, name: str, like: Array) -> Array:
        """The beginning of the path at a point of the graph, with the shape of a sample's values `like`."""
        baseline = np.zeros(like.shape)
        field = self.run.spec.fields.get(name)
        if field is not None and field.steps and field.steps[-1].name == "one_hot":
            categories = len(self.run.states[name][-1]["classes"])
            baseline[..., :categories] = 1 / max(categories, 1)
        return baseline

    def _in_units(self, attributed: Attributed) -> Attributed:
        """The same in the units of the data, if a target has them and a difference of 1 is as much everywhere."""
        target = units_of_values(self.run.model).get(self.output)
        undo = self.run.undone().get(target) if target is not None else None
        scale = _scale(undo) if undo is not None and attributed.entry is None else None
        if undo is None or scale is None:
            return attributed
        score, baseline = (float(undo(np.array([value]))[0]) for value in (attributed.score, attributed.baseline))
        inputs = {name: array * scale for name, array in attributed.inputs.items()}
        return Attributed(self.output, None, score, baseline, inputs)


def _scale(undo: Callable[[Array], Array]) -> float | None:
    """The factor of an affine function; None for another one."""
    at = np.asarray(undo(np.array([-1.0, 0.0, 1.0, 2.0])), np.float64)
    steps = np.diff(at)
    return float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-9) else None


def _run(run: Run, key: object, graph: Any, fields: Fields, count: int) -> dict[str, Any]:
    compiled = run.program.compiled
    step = compiled.step_of(("attribution", key), lambda: graph, fields)
    with compiled.guard.reading:
        return compiled.results_of(step, fields, count)


def _chosen(field: Field, rows: Array) -> Field:
    """Some samples of a field; bytes as floats."""
    chosen = taken(field, rows)
    return np.asarray(chosen) if isinstance(chosen, Bytes) else chosen


def _first(field: Any) -> Array:
    """The first sample of a field."""
    return np.asarray(next(iter(field)) if isinstance(field, Ragged) else field[0])


def _along(start: Any, points: Array, baseline: Array) -> Field:
    """The points of the path from a baseline to the first sample of a field."""
    sample = _first(start)
    path: Array = (baseline + points.reshape(-1, *(1,) * sample.ndim) * (sample - baseline)).astype(sample.dtype)
    if not isinstance(start, Ragged):
        return path
    return Ragged(path.reshape(-1, *sample.shape[1:]), np.full(len(points), len(sample), np.int64))


def _weighted(gradients: Any, weights: Array) -> Array:
    """The weighted sum of the gradients at points of the path."""
    rows = [*gradients] if isinstance(gradients, Ragged) else gradients
    total: Array = np.einsum("p,p...->...", weights, np.stack([np.asarray(row, np.float64) for row in rows]))
    return total
