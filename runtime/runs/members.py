"""The members of an ensemble as one model, and as one data block: what each of them has fitted goes into the graph.

Fitted steps that all members share stay steps of the data. Where they differ, as in the folds of a cross-validation,
the ensemble takes numbers as they are before these steps, and each member does its own. Targets and the outputs in
their units are always in the units of the data. Where categories differ, the ensemble has those of all members.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from netc.compiler.analysis.units import units_of_values
from netc.compiler.ensemble.graph import ensemble
from netc.compiler.ensemble.member import Change, Classes, Member
from netc.compiler.ir.types import Type, describe_sample
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import DataSpec, FieldSpec, StepSpec
from netc.runtime.data.pipeline import labels_of, units_need_f64
from netc.runtime.data.steps.data_step import State, names_of_places
from netc.runtime.data.stored import Array
from netc.runtime.graph_steps import BACKWARD, FORWARD, Pairs, arithmetic_steps, changes_numbers, through
from netc.runtime.runs.categories import Categories, categories_of, has_categories
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run_info import States

_LISTED = 6  # labels in a message


class Trained(Struct, frozen=True):
    """A run that becomes a member: its name for messages, its model, its data block and its fitted steps."""

    name: str
    model: Model
    spec: DataSpec
    states: States


class Joined(Struct, frozen=True):
    """The model of an ensemble with its data block, the states of its steps, and the `arrays` that members fitted."""

    model: Model
    spec: DataSpec
    states: States
    arrays: dict[str, Array]


class _JoinedField(Struct, frozen=True):
    """A field of the data: the steps that the ensemble has, their states, and those that each member does itself, after
    it has turned `categories` into its own.
    """

    field: FieldSpec
    states: list[State]
    member_steps: Sequence[Pairs]
    categories: Categories | None = None

    @property
    def is_own(self) -> bool:
        return self.categories is not None or any(map(changes_numbers, self.member_steps))


def joined(members: Sequence[Trained]) -> Joined:
    """One model of all members. Raises E1009 where they do not fit together."""
    first = members[0]
    for other in members[1:]:
        _require_alike(first, other)
    numeric = _numeric_targets(first)
    by_name = {
        name: _joined_field(members, name, name in numeric) for name in (*first.model.inputs, *first.model.targets)
    }
    arrays: dict[str, Array] = {}
    separate = {name: field for name, field in by_name.items() if field.is_own}
    parts = [_member(number, trained, separate, arrays) for number, trained in enumerate(members, 1)]
    model = ensemble(parts, {name: _raw_type(first, field) for name, field in separate.items()})
    joined_fields = {**first.spec.fields, **{name: field.field for name, field in by_name.items()}}
    folds = {trained.spec.split.fold for trained in members}
    split = replace(first.spec.split, fold=0) if len(folds) > 1 else first.spec.split
    spec = replace(first.spec, fields=joined_fields, split=split)
    return Joined(model, spec, {name: field.states for name, field in by_name.items()}, arrays)


def _numeric_targets(trained: Trained) -> list[str]:
    """The targets that are numbers in units, whose steps are undone in predictions."""
    return [
        name
        for name, type_ in trained.model.targets.items()
        if type_.classes is None and not labels_of(trained.spec.fields[name], trained.states[name])
    ]


def _raw_type(trained: Trained, joined_field: _JoinedField) -> Type:
    """The type of a field before the steps that members do: f64, as the data's steps compute.

    f32 has the bytes of pictures exactly, and the numbers of a target as exactly as predictions have them.
    """
    name, categories = joined_field.field.name, joined_field.categories
    if categories is not None:
        return categories.type_of({**trained.model.inputs, **trained.model.targets}[name])
    field, states = trained.spec.fields[name], trained.states[name]
    if name in trained.model.targets:
        type_ = trained.model.targets[name]
        return replace(type_, dtype="f64") if units_need_f64(field, states) else type_
    type_ = trained.model.inputs[name]
    is_picture = trained.spec.source.reader == "images" and field.columns == ("image",)
    return type_ if is_picture else replace(type_, dtype="f64")


def _member(number: int, trained: Trained, separate: Mapping[str, _JoinedField], arrays: dict[str, Array]) -> Member:
    """A member with the steps that it does itself. `arrays` receives what these have learned."""
    model = trained.model
    units = {name: target for name, target in units_of_values(model).items() if name in model.outputs}
    prepare: dict[str, Change] = {}
    restore: dict[str, Change] = {}
    classes: dict[str, Classes] = {}
    for name, field in separate.items():
        type_, prefix = {**model.inputs, **model.targets}[name], f"member{number}.{name}"
        pairs = field.member_steps[number - 1]
        prepare[name] = partial(_through, FORWARD, pairs, prefix, arrays, type_.dtype)
        is_target = name in model.targets
        if field.categories is not None:
            encode = partial(field.categories.encode, number - 1, f"{prefix}.categories", arrays, type_)
            prepare[name] = partial(_after, encode, prepare[name])
            if is_target:
                classes[name] = field.categories.classes(number - 1, f"{prefix}.classes", arrays)
        elif is_target:
            dtype = "f64" if units_need_f64(trained.spec.fields[name], trained.states[name]) else type_.dtype
            restore[name] = partial(_through, BACKWARD, pairs[::-1], f"{prefix}.undone", arrays, dtype)
    return Member(model, prepare, restore, units, classes)


def _after(first: Change, then: Change, value: Value) -> Value:
    return then(first(value))


def _through(
    rules: Mapping[str, Callable[[Any, Any], Any]],
    pairs: Pairs,
    prefix: str,
    arrays: dict[str, Array],
    dtype: str,
    value: Value,
) -> Value:
    return through(value, rules, pairs, prefix, arrays, dtype)


def _joined_field(members: Sequence[Trained], name: str, is_undone: bool) -> _JoinedField:
    """A field of all members. The arithmetic steps of a target are always done by the members."""
    field, states = members[0].spec.fields[name], [trained.states[name] for trained in members]
    arithmetic = len(field.steps) - len(arithmetic_steps(field, states[0]))
    differing = [i for i in range(len(field.steps)) if any(other[i] != states[0][i] for other in states)]
    start = arithmetic if is_undone else min(differing, default=len(field.steps))
    if any(i < arithmetic for i in differing):
        return _with_categories(members, field, differing[0], arithmetic)
    member_steps = [[*zip(field.steps, each, strict=True)][start:] for each in states]
    if not any(map(changes_numbers, member_steps)):
        start = len(field.steps)
    kept = [*_kept(member_steps[0] if start < len(field.steps) else ())]
    steps = (*field.steps[:start], *(step for step, _ in kept))
    return _JoinedField(replace(field, steps=steps), [*states[0][:start], *(state for _, state in kept)], member_steps)


def _with_categories(members: Sequence[Trained], field: FieldSpec, index: int, arithmetic: int) -> _JoinedField:
    """A field whose categories differ at step `index`, the last one before those that are arithmetic.

    Raises E1009 if that step is another one, or if members do not know what the categories of others mean.
    """
    states = [trained.states[field.name] for trained in members]
    is_target = field.name in members[0].model.targets
    categories = categories_of(field, states, index, is_target) if index + 1 >= arithmetic else None
    if categories is None:
        _refuse_step(members, field, index)
    later = [[*zip(field.steps, each, strict=True)][index + 1 :] for each in states]
    kept = [*_kept(later[0])]
    steps = (*field.steps[: index + 1], *(step for step, _ in kept))
    joined_states = [*states[0][:index], categories.state, *(state for _, state in kept)]
    return _JoinedField(replace(field, steps=steps), joined_states, later, categories)


def _kept(pairs: Pairs) -> Iterator[tuple[StepSpec, State]]:
    """The steps that stay steps of the data: those that change no number, and `impute`, which leaves cells missing."""
    for step, state in pairs:
        if step.name == "impute" and not state["drop"]:
            yield step, {**state, "fill": [None] * len(state["fill"])}
        elif step.name not in FORWARD or state.get("drop"):
            yield step, state


def _refuse_step(members: Sequence[Trained], field: FieldSpec, number: int) -> NoReturn:
    """Raises E1009 at a step that members have fitted differently and that does not compute with numbers alone."""
    step, first = field.steps[number], members[0]
    other = next(each for each in members if each.states[field.name][number] != first.states[field.name][number])
    columns = ", ".join(f"`{cell(name)}`" for name in field.columns[:_LISTED])
    fact = f"`{step.name}` of {columns} differs between `{first.name}` and `{other.name}`"
    label, hint = "each was fitted on its own training part", None
    mine, theirs = (names_of_places(each.states[field.name][number]) for each in (first, other))
    if mine:
        apart = [(each, trained.name) for each, trained in _apart(first, mine, other, theirs)]
        label = "; ".join(f"only `{name}` has {cell(each)}" for each, name in apart[:_LISTED]) or "in another order"
        hint = "folds with all categories in each training part: stratified by this column, or without rare ones"
        if step.name == "classes" and field.name in first.model.inputs:
            label += ", and a member has no place for a label that it does not know"
            hint = "classes(unknown)"
    fault("E1009", fact, step.span, label, hint=hint)


def _apart(
    first: Trained, mine: Collection[str], other: Trained, theirs: Collection[str]
) -> Iterator[tuple[str, Trained]]:
    """The labels that only one of two runs has, with that run."""
    yield from ((label, first) for label in mine if label not in theirs)
    yield from ((label, other) for label in theirs if label not in mine)


def _require_alike(first: Trained, other: Trained) -> None:
    """Raises E1009 if two runs differ in what predictions of them take or return, or in how their data is divided."""
    for kind, mine, theirs in (
        ("input", first.model.inputs, other.model.inputs),
        ("target", first.model.targets, other.model.targets),
        ("output", first.model.outputs, other.model.outputs),
    ):
        for name in dict.fromkeys((*mine, *theirs)):
            if _comparable(first, mine, name) != _comparable(other, theirs, name):
                here, there = (describe_sample(each[name]) if name in each else "missing" for each in (theirs, mine))
                _refuse(first, other, f"its {kind} `{cell(name)}` is {here}, and {there} in `{first.name}`")
    if first.model.train.precision != other.model.train.precision:
        _refuse(first, other, f"its precision is {other.model.train.precision}")
    if first.model.bounds != other.model.bounds:
        _refuse(first, other, "the bounds of its sequences are others")
    if (first.model.data is None) != (other.model.data is None):
        _refuse(first, other, "one was trained on a `data` block, the other on arrays")
    for what in ("source", "fields", "series", "split"):
        mine, theirs = _plain(getattr(first.spec, what)), _plain(getattr(other.spec, what))
        if mine != theirs:
            hint = "members read the same columns in the same way, and their rows are divided alike"
            _refuse(first, other, f"the `{what}` of its data block is another", hint)


def _comparable(trained: Trained, types: Mapping[str, Type], name: str) -> Type | None:
    """The type of an input, target or output, without the number of categories, which may differ between members."""
    type_ = types.get(name)
    fields = trained.spec.fields
    if type_ is None or not trained.states:
        return type_
    if name in fields and types is not trained.model.outputs:
        has_places = has_categories(fields[name])
    else:
        has_places = any(has_categories(fields[target]) for target in trained.model.targets)
    if not has_places:
        return type_
    if type_.classes is not None:
        return replace(type_, classes=0)
    return replace(type_, dims=(*type_.dims[:-1], 0)) if len(type_.dims) > type_.lead else type_


def _plain(item: Any) -> Any:
    """A part of a data block without its spans in the text, and without the number of a fold."""
    if isinstance(item, Span):
        return None
    if isinstance(item, Struct):
        names = [name for name in item.__struct_fields__ if name != "fold"]
        return (type(item).__name__, *(_plain(getattr(item, name)) for name in names))
    if isinstance(item, Mapping):
        return {key: _plain(value) for key, value in item.items()}
    return tuple(map(_plain, item)) if isinstance(item, list | tuple) else item


def _refuse(first: Trained, other: Trained, label: str, hint: str | None = None) -> None:
    fact = f"`{other.name}` and `{first.name}` make no ensemble"
    fault("E1009", fact, path_span(Path(other.name)), label, hint=hint)
