"""Resuming a run by a file that was changed meanwhile: what differs in meaning, and whether training may go on.

Settings of the steps to come may change (the rate, epochs, when to stop), but not what past steps depended on (data,
model, batch, seed).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import TRAINED, ResultKind
from netc.compiler.model import Model, Optimizer
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.files import content_of
from netc.dsl.parser import parse
from netc.dsl.source import Span
from netc.runtime.data.spec import parse_data
from netc.runtime.runs.run import Run, rewrite_model
from netc.runtime.settings import places_of_settings

_FREE = ("epochs", "schedule", "plateau", "clip_norm", "clip_value", "lr_scale", "loss_scale", "early_stop", "keep")


@dataclass(frozen=True, slots=True)
class Change:
    """A difference, at its place in the new file, and whether a run may go on with it."""

    what: str
    is_allowed: bool
    span: Span
    before: str = ""


def adopt(run: Run, model: Model) -> list[Change]:
    """Make a run go on by a changed file. Faults E1004 with every change that is not allowed."""
    changes = list(_changes(run.model, model))
    refused = [
        Diagnostic(
            "E1004",
            f"{change.what} changed since the run began",
            Label(change.span, change.before),
            hint="a new run: netc train without --resume; `start_from` takes parameters over",
        )
        for change in changes
        if not change.is_allowed
    ]
    if refused:
        raise Fault(refused)
    rewrite_model(run, model)
    return changes


def _changes(old: Model, new: Model) -> Iterator[Change]:
    """The differences in meaning between a run's model and a new one."""
    start = Span(new.source, 0, 0)
    outputs = (ResultKind.OUTPUT, ResultKind.METRIC, ResultKind.WATCH, ResultKind.METRIC_WEIGHT)
    if _meaning(old.graph, *TRAINED) != _meaning(new.graph, *TRAINED) or _parameters(old) != _parameters(new):
        span, before = _first_difference(old, new)
        yield Change("what the model computes", False, span, before)
    elif _meaning(old.graph, *outputs) != _meaning(new.graph, *outputs):
        yield Change("outputs, metrics or watched values", True, start)
    if new.data is not None and (
        old.data is None or _without_spans(parse_data(old)) != _without_spans(parse_data(new))
    ):
        yield Change("the data", False, Span(new.source, new.data.span.start, new.data.span.start + 4))
    places = places_of_settings(new)
    for field in fields(new.train):
        before, after = getattr(old.train, field.name), getattr(new.train, field.name)
        if _without_spans(before) != _without_spans(after):
            yield _change_of_setting(field.name, before, after, places.get(field.name, start))


def _change_of_setting(name: str, before: Any, after: Any, span: Span) -> Change:
    is_free = name in _FREE
    if name == "optimizer":
        is_free = _states(before) == _states(after)
        before, after = _shown(before), _shown(after)
    elif name in ("schedule", "loss_scale"):  # graphs
        before = after = ""
    values = f" from {before} to {after}" if is_free and before != after else ""
    return Change(f"`{name}`{values}", is_free, span, "" if is_free else f"it was {before}")


def _meaning(graph: Graph, *kinds: ResultKind) -> str:
    """The printed form of the results of some kinds, without their places in the text."""
    return "\n".join(line.split("  #")[0] for line in print_graph(graph.of(*kinds)).splitlines())


def _parameters(model: Model) -> dict[str, Any]:
    return {name: (info.type, info.decay) for name, info in {**model.trainables, **model.states}.items()}


def _states(optimizer: Optimizer) -> tuple[str, bool]:
    """The name and the choice that decide which states an optimizer keeps."""
    return optimizer.name, bool(optimizer.numbers.get("momentum"))


def _shown(optimizer: Optimizer) -> str:
    return f"{optimizer.name}({', '.join(f'{key} = {value:g}' for key, value in optimizer.numbers.items())})"


def _without_spans(value: Any) -> Any:
    """A dataclass as nested tuples without places in the text; a schedule in its printed form."""
    if isinstance(value, Span):
        return None
    if isinstance(value, Graph):
        return _meaning(value, ResultKind.FACTOR)
    if hasattr(value, "__dataclass_fields__"):
        return tuple(_without_spans(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, dict):
        return {key: _without_spans(item) for key, item in value.items()}
    return tuple(_without_spans(item) for item in value) if isinstance(value, tuple | list) else value


def _first_difference(old: Model, new: Model) -> tuple[Span, str]:
    """The first statement of the new model that differs from the old one, and what stood in its place."""
    before, after = (
        [
            statement
            for item in parse(model.source).items
            for statement in (item.body if isinstance(item, syntax.Model | syntax.Block) else [item])
            if not isinstance(item, syntax.Data | syntax.Train)
        ]
        for model in (old, new)
    )
    for i, statement in enumerate(after):
        if i >= len(before) or statement != before[i]:
            text = before[i].span.text.splitlines()[0] if i < len(before) else ""
            return _first_line(statement.span), f"it was `{text}`" if text else ""
    return Span(new.source, 0, 0), "statements were taken out" if len(before) > len(after) else ""


def _first_line(span: Span) -> Span:
    return replace(span, end=span.start + len(span.text.splitlines()[0]))


def has_changed(run: Run) -> Path | None:
    """The file that a run was trained from, if it has changed since."""
    path = run.model.source.path
    try:
        return path if path is not None and content_of(path).decode() != run.model.source.text else None
    except (OSError, UnicodeDecodeError):
        return None
