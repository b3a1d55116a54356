"""Warnings about targets that the model is given as inputs: the same column, or the same series some steps on.

Takes a model and its data block; looks at no row.
"""

from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.analysis.copying import Copy, copy_of, place_in_file, remedy, shifted
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.model import Model
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.plural import counted
from netc.dsl.quoting import cell, is_writable, net_string
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import DataSpec, FieldSpec
from netc.runtime.data.steps.steps import STEPS


def target_warnings(model: Model, spec: DataSpec, written: DataSpec) -> Iterator[Diagnostic]:
    """W0836 and W0511, except for those that a comment silences.

    `spec` names all columns; `written` is the block as it stands in the file.
    """
    for warning in (*_shared_columns(model, spec, written), *_moved_fields(model, spec)):
        if not warning.is_silenced:
            yield warning


def _shared_columns(model: Model, spec: DataSpec, written: DataSpec) -> Iterator[Diagnostic]:
    """W0836 if an input has a target's column. Series and texts may: their target is often a later part."""
    for target, target_type in model.targets.items():
        for name, type_ in model.inputs.items():
            field, goal = spec.fields[name], spec.fields[target]
            shared = [column for column in field.columns if column in goal.columns]
            is_its_own_target = set(field.columns) <= set(goal.columns) and target_type.size(1) > 1  # an autoencoder
            if not shared or is_its_own_target or _is_sequence(field, type_) or _is_sequence(goal, target_type):
                continue
            columns = ", ".join(f"`{cell(column)}`" for column in shared)
            verb = "is" if len(shared) == 1 else "are"
            yield Diagnostic(
                "W0836",
                f"{columns} {verb} in the input `{name}` and in the target `{target}`: the model is given the answer",
                Label(field.span),
                (Label(goal.span, "the target"),),
                _without(written.fields[name], shared),
            )


def _is_sequence(field: FieldSpec, type_: Type) -> bool:
    return type_.is_varying or any(
        STEPS[step.name].makes_sequences or step.name in windows.SERIES for step in field.steps
    )


def _without(field: FieldSpec, columns: list[str]) -> str | None:
    """The hint that leaves out columns; None if a `.net` file cannot name them."""
    if not all(map(is_writable, columns)):
        return None
    if field.is_rest:
        names = [net_string(name) for name in (*field.columns, *columns)]
        listed = ", ".join(names)
        return f"columns(all, except = {listed if len(names) == 1 else f'({listed})'})"
    if len(field.columns) == len(columns):
        return f"leave `{field.name}` out"
    return f"leave {'it' if len(columns) == 1 else 'them'} out of `{field.name}`"


class _Moved(Struct, frozen=True):
    """A target with the elements of an input, `ahead` steps on, and how the model can copy them."""

    field: FieldSpec
    ahead: int
    copy: Copy


def _moved_fields(model: Model, spec: DataSpec) -> Iterator[Diagnostic]:
    """W0511 if a target has the elements of an input, and the model reads each of them before it has to say it."""
    inputs = {leaf.name: leaf for leaf in model.graph.values(Role.INPUT)}
    targets = {leaf.name: leaf for leaf in model.graph.values(Role.TARGET)}
    for name, leaf in targets.items():
        for other, source in inputs.items():
            ahead = _steps_ahead(spec.fields[other], spec.fields[name], source.type)
            if ahead is None:
                continue
            for comparison in model.comparisons:
                copy = copy_of(model.graph, comparison, source, leaf, ahead)
                if copy is not None:
                    yield _copied(model, _Moved(spec.fields[name], ahead, copy))


def _steps_ahead(field: FieldSpec, target: FieldSpec, type_: Type) -> int | None:
    """The number of steps that a target is ahead of an input with the same elements; None for other elements."""
    if field.columns != target.columns or _kept_steps(field) != _kept_steps(target):
        return None
    if any(step.name == "train_only" for step in field.steps):
        return None  # it changes the input
    if not windows.is_series([field, target]):
        return 0 if _is_sequence(field, type_) else None
    cut, target_cut = windows.cut_of(field), windows.cut_of(target)
    if cut.is_single or target_cut.is_single or (cut.count, cut.step) != (target_cut.count, target_cut.step):
        return None
    return target_cut.first - cut.first


def _kept_steps(field: FieldSpec) -> list[tuple[object, ...]]:
    return [(step.name, *step.arguments) for step in field.steps if step.name != "next"]


def _one_step_on(field: FieldSpec) -> str:
    """The hint with a field of windows as it is written, but one step on."""
    written = field.span.source.text[field.span.start : field.steps[-1].span.end] if field.steps else field.span.text
    window = next((step.span.text for step in field.steps if step.name == "window"), None)
    if window is None or "\n" in written:
        return "`next(1)` before `window`"
    return f"{field.name} = {written.replace(window, f'next(1) -> {window}', 1)}"


def _copied(model: Model, moved: _Moved) -> Diagnostic:
    copy, source = moved.copy, moved.copy.source.name
    on = "the same" if moved.ahead == 0 else f"{counted(moved.ahead, 'step')} on"
    asked = copy.comparison.label_span
    if moved.ahead < 0:
        hint: str | None = f"`next` in the field of `{moved.field.name}`, and not in that of `{source}`"
    else:
        hint = remedy(copy, moved.field.name, asked.text, model.applications)
    if hint is None:
        has_window = any(step.name == "window" for step in moved.field.steps)
        hint = _one_step_on(moved.field) if has_window else shifted(copy, model.applications)
    others = [Label(moved.field.span, f"this is `{source}`, {on}")]
    if copy.reader is not copy.source:
        span = place_in_file(model.applications, copy.reader)
        others.append(Label(span, "this reads the step that is asked for"))
    return Diagnostic(
        "W0511",
        f"the model can copy what `{copy.comparison.loss}` asks for from `{source}`",
        Label(asked),
        tuple(others),
        hint,
    )
