"""Checks a `data` block: the source, the fields with their steps, the split.

Knows nothing of rows, and only the inputs and targets of a model, with their types.

Raises a Fault for unknown readers, steps and settings, for inputs that the block does not give, and for targets whose
steps do not fit their types.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from netc.compiler.ir.types import Type, describe_sample
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, Fault, Label, fault, nearest
from netc.dsl.hints import At, Change, Hint
from netc.dsl.mistakes.comments import explained
from netc.dsl.quoting import net_string
from netc.dsl.source import NOWHERE, Source, Span
from netc.dsl.structs import replace
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import Constants, DataSpec, FieldSpec, SeriesSpec, SourceSpec, SplitSpec
from netc.runtime.data.block.fields import parse_field
from netc.runtime.data.block.series import parse_series
from netc.runtime.data.block.source import parse_source
from netc.runtime.data.block.split import parse_split
from netc.runtime.data.pictures.augment import augmentations_of
from netc.runtime.data.steps.steps import STEPS


def check_tokens(field: FieldSpec) -> None:
    """Raises E0701 if a field consists of characters or words that no step makes numbers of."""
    names = [step.name for step in field.steps]
    cut = next((i for i, name in enumerate(names) if name in ("characters", "words")), None)
    if cut is not None and {*names[cut + 1 :]} <= {"ends", "next", "window"}:
        step = field.steps[cut]
        texts = [step.span.text, *(["ends"] if "ends" in names else [])]
        hint = f"`{' -> '.join(texts)} -> vocabulary` gives each of them a number"
        fault("E0701", f"a model takes numbers, and `{step.name}` gives texts", step.span, hint=hint)


def parse_data(model: Model) -> DataSpec:
    """The `data` block of a model. Raises E0402, E0701, E0702 and E0804 where both do not fit together."""
    spec, faults = parse_block(model.source, model.data, model.constants), Diagnostics()
    for name, type_ in (*model.inputs.items(), *model.targets.items()):
        if name not in spec.fields:
            fact = f"the data does not give the {'input' if name in model.inputs else 'target'} `{name}`"
            hint = missing_field_hint(name, spec, {*model.inputs, *model.targets})
            faults.add("E0702", fact, model.declared[name], hint=hint)
            continue
        try:
            check_tokens(spec.fields[name])
            if name in model.targets:
                _check_target(spec.fields[name], type_, model.declared[name])
                spec.fields[name] = replace(spec.fields[name], is_target=True)
            else:
                augmentations_of(spec.fields[name], type_, model.declared[name])
        except Fault as error:
            faults.note(error)
    faults.raise_errors()
    return spec


def missing_field_hint(name: str, spec: DataSpec, read: Collection[str]) -> str:
    """The hint for an input or target that the data does not have: a similar name, or else the fields that are not in
    `read`, the names of all inputs and targets, of which one is meant, or else the line that is missing."""
    others = [f"`{field}`" for field in spec.fields if field not in read]
    all_others = f"the data also gives {', '.join(others)}: a field and its input have one name" if others else None
    return nearest(name, spec.fields) or all_others or f'{name} = column("{name}")'


def _check_target(field: FieldSpec, type_: Type, declared: Span) -> None:
    """Raises E0701 for a step that predictions cannot undo, E0402 if the labels of classes are declared as numbers."""
    for step in field.steps:
        definition = STEPS[step.name]
        if definition.undo is None:
            fact = f"`{step.name}` on a target cannot be undone in predictions"
            fault("E0701", fact, step.span, hint=Hint.code("classes") if step.name == "one_hot" else None)
        if definition.words == ("unknown",) and step.arguments:
            fact = f"`{step.name}(unknown)` is for inputs: a target has no unknown class"
            fault("E0701", fact, step.span, hint=Hint.code(step.name))
        if definition.labels is not None and type_.classes is None:
            fact, label = f"`{field.name}` is declared as {describe_sample(type_)}", "and this makes classes of it"
            has_axes = len(field.columns) > 1 or any(STEPS[each.name].makes_sequences for each in field.steps)
            axes = describe_sample(type_).partition("[") if has_axes or windows.is_series([field]) else ()
            classes = f"class(auto){''.join(axes[1:])}"
            hint = Hint(f"target {field.name}: {classes}", Change(classes, At.TYPE))
            fault("E0402", fact, declared, others=[Label(step.span, label)], hint=hint)


def array_spec(model: Model) -> DataSpec:
    """Stands for the `data` block of a model that was trained on arrays: each field is a column without steps."""
    fields = {name: FieldSpec(name, (name,), True, (), NOWHERE) for name in (*model.inputs, *model.targets)}
    return DataSpec(SourceSpec("npz", "", NOWHERE), fields, SplitSpec(fractions=(("train", 1.0),)), NOWHERE)


class _Settings(Struct):
    """The settings of a `data` block that have been read."""

    split: SplitSpec
    source: SourceSpec | None = None
    series: SeriesSpec | None = None
    fields: dict[str, FieldSpec] = {}

    def take(self, setting: syntax.Setting, constants: Constants, data: syntax.Data) -> None:
        """Reads one setting. Raises Fault if it is wrong."""
        match setting.name.text:
            case "source":
                self.source = parse_source(setting.value, constants)
            case "split":
                self.split = parse_split(setting.value, constants)
            case "series":
                self.series = parse_series(setting.value, constants)
            case name:
                self.fields[name] = parse_field(name, setting.value, constants, data)


def parse_block(source: Source, data: syntax.Data | None, constants: Constants) -> DataSpec:
    """The `data` block of a file, without regard to its model.

    Raises E0501 if there is none, E0601 if a name is set twice; all faults of the block are reported together.
    """
    if data is None:
        fact, hint = "the file has no `data` block", 'data { source = csv("data.csv") ... }'
        fault("E0501", fact, Span(source, 0, 0), hint=hint)
    faults, settings = Diagnostics(), _Settings(SplitSpec(span=data.span))
    seen: dict[str, Span] = {}
    for setting in data.settings:
        name = setting.name.text
        if name in seen:
            first = Label(seen[name], "first here")
            faults.add("E0601", f"`{name}` is set twice", setting.name.span, others=[first])
            continue
        seen[name] = setting.name.span
        try:
            settings.take(setting, constants, data)
        except Fault as error:
            faults.note(explained(error, setting.value))
    split = settings.split
    origin = settings.source or dict(split.sources).get("train")
    if origin is None and not faults.errors:
        span = Span(source, data.span.start, data.span.start + 4)
        faults.add("E0701", "the `data` block has no source", span, hint='source = csv("data.csv")')
    faults.raise_errors()
    assert origin is not None, "a fault without a message"
    parts = (*dict(split.fractions), *dict(split.sources))
    if settings.source is not None and split.fractions and "train" not in parts:
        fault("E0602", "a split needs a part `train`", split.span)
    _check_texts(origin, settings.fields, faults)
    faults.raise_errors()
    return DataSpec(origin, settings.fields, split, data.span, settings.series)


def _check_texts(origin: SourceSpec, fields: Mapping[str, FieldSpec], faults: Diagnostics) -> None:
    """E0701 where a text would not be cut into samples: one from `text` without a `window`, which is a series of single
    characters, and texts in the rows of a table with a `window`, which cuts series of rows.
    """
    cuts = [step for field in fields.values() for step in field.steps if step.name in windows.SERIES]
    for field in fields.values():
        pieces = next((step for step in field.steps if STEPS[step.name].makes_sequences), None)
        if origin.reader == "text" and field.columns == ("text",) and not cuts:
            piece = "word" if pieces is not None and pieces.name == "words" else "character"
            fact = f"a sample of `{field.name}` would be a single {piece}: a text is one long series"
            span = field.steps[-1].span if field.steps else field.span
            rows = f"csv({net_string(origin.path)}, header = false)"
            lines = f'for a sample in each line: {rows}, with column("1") for {field.span.text}'
            faults.add(
                "E0701", fact, span, others=[Label(origin.span, lines)], hint=Hint.code("-> window(100)", At.BEHIND)
            )
        elif origin.reader != "text" and cuts and pieces is not None:
            cut_of_field = next((cut for cut in cuts if cut in field.steps), None)
            cut = cut_of_field or cuts[0]
            fact = f"`{cut.name}` cuts one long series, and each row of `{field.name}` is a text of its own"
            others = [] if cut_of_field is not None else [Label(cut.span, "this cuts the rows")]
            hint = f"leave out `{cut.span.text}`: the type class(auto)[t] takes texts of any length"
            faults.add("E0701", fact, (cut_of_field or pieces).span, others=others, hint=hint)
