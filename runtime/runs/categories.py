"""The categories of an ensemble: those of all its members, and each member's own numbers of them.

The data of an ensemble is encoded with the categories of all members. In its graph, each member turns these numbers
into its own, as if it had encoded the cells itself.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.ensemble.member import Classes
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type, fixed_size
from netc.compiler.ir.value import Value, apply
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import natural

_ENTRIES = {"classes": "classes", "one_hot": "classes", "vocabulary": "tokens"}  # of a state, by the name of the step
_SHAPES = ("reshape", "flatten")


class Categories(Struct, frozen=True):
    """The categories of a field that differ between members: its step, at `index` of the pipe, and `states`, one for
    each member. `state` has the categories of all.
    """

    index: int
    step: StepSpec
    states: Sequence[State]
    state: State

    @property
    def count(self) -> int:
        """The number of places, with that for unknown categories."""
        return _count(self.step, self.state)

    def type_of(self, type_: Type) -> Type:
        """The type that data has with the categories of all members, from a member's."""
        if self.step.name == "one_hot":
            return replace(type_, dtype="f64", dims=(*type_.dims[:-1], self.count))
        return replace(type_, classes=self.count)

    def encode(self, number: int, name: str, arrays: dict[str, Array], like: Type, value: Value) -> Value:
        """A field of the ensemble as the member with this number encodes it; `like` is the type that its model takes.

        `arrays` receives the table of the member's numbers.
        """
        codes = self.codes(number)
        if self.step.name != "one_hot":
            arrays[name] = np.maximum(codes, 0).astype(np.int32)
            table = value.graph.leaf(Role.STATE, name, Type("i32", (len(codes),), like.classes))
            return apply("gather", table, value)
        width = fixed_size(like.dims[-1])
        arrays[name] = _ones(codes, width)
        matrix = value.graph.leaf(Role.STATE, name, Type("f64", (len(codes), width)))
        return apply("cast", apply("matmul", value, matrix), dtype=like.dtype)

    def classes(self, number: int, name: str, arrays: dict[str, Array]) -> Classes:
        """The classes of a target that the member with this number knows."""
        of_member = _count(self.step, self.states[number])
        matrix = _ones(self.codes(number), of_member).T.copy()
        leaves = dict[str, Value]()

        def spread(value: Value, missing: float) -> Value:
            if name not in leaves:
                arrays[name] = matrix
                leaves[name] = value.graph.leaf(Role.STATE, name, Type("f64", matrix.shape))
            result = apply("matmul", apply("cast", value, dtype="f64"), leaves[name])
            if missing:
                result = result + (1.0 - apply("sum", leaves[name], over=(0,))) * missing
            return apply("cast", result, dtype=value.type.dtype)

        return Classes(of_member, self.count, spread)

    def codes(self, number: int) -> Array:
        """A member's own number of each category: that of unknown ones, or -1, for what it does not know."""
        key, state = _ENTRIES[self.step.name], self.states[number]
        numbers = {label: i for i, label in enumerate(state[key])}
        unknown = 0 if key == "tokens" else len(numbers) if state.get("unknown") else -1
        codes = [numbers.get(label, unknown) for label in self.state[key]]
        return np.array([*codes, *([unknown] if self.state.get("unknown") else [])], np.int64)


def _count(step: StepSpec, state: State) -> int:
    return len(state[_ENTRIES[step.name]]) + bool(state.get("unknown"))


def _ones(codes: Array, width: int) -> Array:
    """A matrix with a 1 at the place of each row that has one, and 0 elsewhere."""
    matrix = np.zeros((len(codes), width))
    rows = np.flatnonzero(codes >= 0)
    matrix[rows, codes[rows]] = 1.0
    return matrix


def categories_of(
    field: FieldSpec, states: Sequence[Sequence[State]], index: int, is_target: bool
) -> Categories | None:
    """The categories at a step that members fitted differently; None if members do not know what others mean.

    So it is for a `classes` of inputs that has no place for unknown labels, for tokens of a target, for its classes if
    no member knows them all, and for the places of `one_hot` once their array has another shape. `states` are those of
    the field in each member.
    """
    step, later = field.steps[index], field.steps[index + 1 :]
    if step.name not in _ENTRIES:
        return None
    encodings = [each[index] for each in states]
    if step.name == "classes" and not is_target and not encodings[0].get("unknown"):
        return None
    if (is_target and step.name != "classes") or (step.name == "one_hot" and any(s.name in _SHAPES for s in later)):
        return None
    key = _ENTRIES[step.name]
    labels = [*dict.fromkeys(label for state in encodings for label in state[key])]
    if is_target and all(len(state[key]) < len(labels) for state in encodings):
        return None
    return Categories(
        index, step, encodings, {**encodings[0], key: sorted(labels, key=natural) if key == "classes" else labels}
    )


def has_categories(field: FieldSpec) -> bool:
    """Whether the model takes categories of a field, whose number is that of the training part."""
    return any(step.name in _ENTRIES for step in field.steps)
