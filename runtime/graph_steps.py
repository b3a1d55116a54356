"""Steps of a field's pipe as values of a graph, for what takes a run's data as it is: exported files and ensembles.

These are the steps that are arithmetic on arrays of the shape that the model takes: `standardize`, `minmax`, `scale`,
`clip`, `log`, and `impute` of numbers. They compute in f64, as the data's steps do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise_definition import choose
from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array

_IDENTITY = ("reshape", "flatten", "window", "next", "train_only")  # steps that change no number

Rule = Callable[[Any, Any], Any]
Pairs = Sequence[tuple[StepSpec, State]]
# by the name of a step: the step and its inverse, on a value of a graph and the state of the step
FORWARD: dict[str, Rule] = {
    **{name: step.formula for name, step in STEPS.items() if step.formula is not None},
    "scale": lambda x, state: x * state["by"],
    "clip": lambda x, state: apply("clip", x, state["least"], state["most"]),
    "log": lambda x, state: apply("log", x),
    "impute": lambda x, state: choose(apply("not_equal", x, x), state["fill"], x),
}
BACKWARD: dict[str, Rule] = {
    **{name: step.undo for name, step in STEPS.items() if name in FORWARD and step.undo is not None},
    "log": lambda x, state: apply("exp", x),
}


def changes_numbers(pairs: Pairs) -> bool:
    """Whether some of these steps compute numbers."""
    return any(step.name in FORWARD and not _does_nothing(state) for step, state in pairs)


def _does_nothing(state: State) -> bool:
    """Whether a step of `impute` drops rows, or leaves cells missing for what follows."""
    return bool(state.get("drop")) or None in state.get("fill", ())


def arithmetic_steps(field: FieldSpec, states: Sequence[State]) -> list[tuple[StepSpec, State]]:
    """The last steps of a field that are arithmetic on arrays of the shape that the model takes, with their states."""
    pairs = [*zip(field.steps, states, strict=True)]
    taken, is_moved = 0, False
    for step, state in reversed(pairs):
        is_moved = is_moved or step.name in ("reshape", "flatten")
        has_columns = any(isinstance(number, list) for number in state.values())
        if step.name not in _IDENTITY and (step.name not in FORWARD or (is_moved and has_columns)):
            break
        if any(isinstance(fill, str) for fill in state.get("fill", ())):
            break
        taken += 1
    return pairs[len(pairs) - taken :]


def through(
    x: Value, rules: Mapping[str, Rule], pairs: Pairs, prefix: str, arrays: dict[str, Array], dtype: str
) -> Value:
    """A value through steps by these rules, as a value of the type `dtype`.

    `arrays` receives fitted arrays. They are leaves of the graph whose names begin with `prefix`.
    """
    if not any(step.name in rules for step, _ in pairs):
        return x
    result = apply("cast", x, dtype="f64")  # the data's steps compute in f64
    for i, (step, state) in enumerate(pairs):
        if step.name in rules and not _does_nothing(state):
            numbers = {
                name: _number(result, f"{prefix}.{i}.{name}", number, arrays)
                for name, number in state.items()
                if not isinstance(number, bool)
            }
            result = rules[step.name](result, numbers)
    return apply("cast", result, dtype=dtype)


def _number(like: Value, name: str, number: Any, arrays: dict[str, Array]) -> Value:
    """A number of a step's state as a constant of the graph of `like`, or an array of it as a leaf.

    An array with an element for each number of a sample gets the shape of a sample.
    """
    array, shape = np.asarray(number, np.float64), like.type.shape(1)[1:]
    if array.size == math.prod(shape):
        array = array.reshape(shape)
    type_ = Type("f64", tuple(map(int, array.shape)))
    if not array.ndim:
        return like.graph.constant(float(array), type_)
    arrays[name] = array
    return like.graph.leaf(Role.STATE, name, type_)
