"""Resuming a run by a file, constants or a number of epochs that changed: what differs in meaning, and whether training
may go on.

Settings of the steps to come may change (the rate, epochs, when to stop), but not what past steps depended on (data,
model, batch, seed). What changed is written into the run, so that the next `--resume` goes on with it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from netc.compiler.elaborate.settings.replaced import names_of_values
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import TRAINED, ResultKind
from netc.compiler.model import Model, Optimizer
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.parser import parse
from netc.dsl.plural import counted
from netc.dsl.source import Span
from netc.dsl.storage.files import content_of
from netc.dsl.structs import replace
from netc.runtime.data.block.spec import parse_data
from netc.runtime.runs.checkpoint import Progress
from netc.runtime.runs.data_changes import refusals
from netc.runtime.runs.opening import model_as_written
from netc.runtime.runs.run import Run
from netc.runtime.runs.run_files import read_info
from netc.runtime.runs.run_info import Constant
from netc.runtime.runs.writing import rewrite_model, rewrite_sources
from netc.runtime.settings import setting_span, setting_spans

_FREE = ("epochs", "schedule", "plateau", "clip_norm", "clip_value", "lr_scale", "loss_scale", "early_stop", "keep")


class Change(Struct, frozen=True):
    """A difference, at its span in the new file, and whether a run may go on with it."""

    what: str
    is_allowed: bool
    span: Span
    before: str = ""


def kept_constants(folder: Path, file: syntax.File | None = None) -> dict[str, Constant]:
    """The constants that a run was trained with; only those that `file` has too, if that replaces the run's text."""
    constants = dict(read_info(folder)[0].set)
    if file is None:
        return constants
    names = names_of_values(file)
    return {name: value for name, value in constants.items() if name in names}


def with_constants(folder: Path, constants: Mapping[str, Constant]) -> Model:
    """The model of a run's own text with other constants. Raises what `elaborate` raises."""
    info, text, _ = read_info(folder)
    info.set = dict(constants)
    return model_as_written(folder, info, text)


def adopt(run: Run, model: Model, constants: Mapping[str, Constant], epochs: int | None = None) -> list[Change]:
    """Makes a run go on by another model, which was elaborated with `constants`, until `epochs` are done.

    Without `epochs` those of the text count if they changed, and else the run keeps its own, as `--epochs` set them.
    Returns the changes of the model and its settings, besides the `epochs` that were asked for. Raises E1004 with every
    change that is not allowed, and for fewer epochs than are done.
    """
    before, kept = kept_constants(run.folder), run.model.train.epochs
    declared = with_constants(run.folder, before).train.epochs
    if epochs is not None or model.train.epochs == declared:
        model = replace(model, train=replace(model.train, epochs=kept))
    changes = list(_changes(run.model, model))
    if epochs is not None:
        model = replace(model, train=replace(model.train, epochs=epochs))
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
    _refuse_fewer_epochs(run, model)
    if (model.source.text, model.train.epochs, constants) != (run.model.source.text, kept, before):
        rewrite_model(run, model, constants)
    return changes


def _refuse_fewer_epochs(run: Run, model: Model) -> None:
    """Raises E1004 for fewer epochs than the run has begun."""
    progress, epochs = run.progress, model.train.epochs
    begun = progress.epoch + (progress.step > 0)
    if epochs < begun:
        done = f"the run has done {progress.epoch}" + (f", and a part of epoch {begun}" if progress.step else "")
        hint = f"--epochs {begun + 1}, or more"
        fault("E1004", f"training until epoch {epochs} is over", setting_span(model, "epochs"), done, hint=hint)


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
    spans = setting_spans(new)
    for name in new.train.__struct_fields__:
        before, after = getattr(old.train, name), getattr(new.train, name)
        if _without_spans(before) != _without_spans(after):
            yield _change_of_setting(name, before, after, spans.get(name, start))


def _change_of_setting(name: str, before: Any, after: Any, span: Span) -> Change:
    is_free = name in _FREE
    if name == "optimizer":
        is_free = _states(before) == _states(after)
        before, after = before.text("{:g}".format), after.text("{:g}".format)
    elif name in ("schedule", "loss_scale"):  # graphs
        before = after = ""
    values = f" from {before} to {after}" if is_free and before != after else ""
    return Change(f"`{name}`{values}", is_free, span, "" if is_free else f"it was {before}")


def _meaning(graph: Graph, *kinds: ResultKind) -> str:
    """The printed form of the results of some kinds, without their spans in the text."""
    return "\n".join(line.split("  #")[0] for line in print_graph(graph.of(*kinds)).splitlines())


def _parameters(model: Model) -> dict[str, Any]:
    return {name: (info.type, info.decay) for name, info in {**model.trainables, **model.states}.items()}


def _states(optimizer: Optimizer) -> tuple[str, bool, float | None]:
    """The name and the choices that decide which states an optimizer keeps."""
    return optimizer.name, bool(optimizer.numbers.get("momentum")), optimizer.numbers.get("history")


def _without_spans(value: Any) -> Any:
    """A record as nested tuples without spans in the text; a schedule in its printed form."""
    if isinstance(value, Span):
        return None
    if isinstance(value, Graph):
        return _meaning(value, ResultKind.FACTOR)
    if isinstance(value, Struct):
        return tuple(map(_without_spans, astuple(value)))
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
            if not isinstance(item, syntax.Data | syntax.Train | syntax.Study)
        ]
        for model in (old, new)
    )
    for i, statement in enumerate(after):
        if i >= len(before) or statement != before[i]:
            text = before[i].span.text.splitlines()[0] if i < len(before) else ""
            return _first_line(statement.span), f"it was `{text}`" if text else ""
    for item in parse(new.source).items:
        if isinstance(item, syntax.Let) and item.name.text in old.constants:
            value = old.constants[item.name.text]
            if value != new.constants[item.name.text]:
                return _first_line(item.span), f"`{item.name.text}` was {value}"
    return Span(new.source, 0, 0), "statements were taken out" if len(before) > len(after) else ""


def _first_line(span: Span) -> Span:
    return replace(span, end=span.start + len(span.text.splitlines()[0]))


def take_data(run: Run, may_change: bool) -> int | None:
    """Loads the data of a run that is to be resumed.

    Raises E0843 if the data has changed since the run was trained, because it could not end with the same bits. With
    `may_change` the run goes on with the data as it is now. An epoch that was interrupted then begins anew, and its
    number is returned; otherwise None.
    """
    fields, progress = run.load_data().parts["train"], run.progress
    if run.data_changes and not may_change:
        raise Fault(refusals(run.data_changes, run.folder))
    count = len(next(iter(fields.values())))
    is_lost = 0 < count <= progress.step * run.model.train.samples_per_step
    if is_lost and not may_change:
        note = f"it had seen {counted(progress.samples, 'sample')}, and the training part has {count:,}"
        hint = f"netc train --resume {run.folder} --changed-data begins the epoch anew"
        title = "the epoch that was interrupted has no samples left"
        fault("E0843", title, run.spec.source.span, note, hint=hint)
    if not run.data_changes and not is_lost:
        return None
    rewrite_sources(run)
    if not progress.step:
        return None
    run.progress = Progress(epoch=progress.epoch)
    return progress.epoch + 1


def hand_on_data(before: Run, run: Run) -> None:
    """Gives a run the data that it had loaded before its settings were changed, if it reads the same fields."""
    fields = [{*each.model.inputs, *each.model.targets} for each in (before, run)]
    if before.dataset is not None and fields[0] == fields[1]:
        run.dataset, run.data_changes = replace(before.dataset, spec=run.spec), before.data_changes


def has_changed(run: Run) -> Path | None:
    """The file that a run was trained from, if it has changed since."""
    path = run.model.source.path
    try:
        return path if path is not None and content_of(path).decode() != run.model.source.text else None
    except (OSError, UnicodeDecodeError):
        return None
