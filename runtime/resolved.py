"""A model's file with every default filled in, for `netc check --resolved`. It trains as the file itself does."""

import math
from collections.abc import Iterator

from netc.compiler.model import Better, Model
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.printer import expression, print_file
from netc.dsl.quoting import net_string
from netc.dsl.source import Source
from netc.runtime.data.block.declarations import SplitSpec
from netc.runtime.data.block.spec import parse_data


def resolved_text(model: Model) -> str:
    """The file in its canonical form.

    Constants have the values that are set, the split and the `train` block are written out, `class(auto)` is counted.
    """
    text, shift = model.source.text, 0
    for start, end, new in sorted(_edits(model)):
        text = text[: start + shift] + new + text[end + shift :]
        shift += len(new) - (end - start)
    return print_file(parse(Source(model.source.name, text)))


def _edits(model: Model) -> Iterator[tuple[int, int, str]]:
    """The replacements in the source: start, end and new text."""
    items = parse(model.source).items
    end = len(model.source.text)
    for item in items:
        match item:
            case syntax.Let(name=name, value=value) if name.text in model.constants:
                yield value.span.start, value.span.end, _constant(model.constants[name.text], name)
            case syntax.Train():
                yield item.span.start, item.span.end, _train_block(model)
            case syntax.Data(settings=settings) if not any(setting.name.text == "split" for setting in settings):
                yield item.span.end - 1, item.span.end, f"\n  split = {_split(parse_data(model).split)}\n}}"
            case syntax.Model(body=body):
                for statement in body:
                    if isinstance(statement, syntax.Input | syntax.Target) and statement.name.text in model.counted:
                        assert statement.type.size is not None
                        span = statement.type.size.span
                        yield span.start, span.end, str(model.counted[statement.name.text])
    if not any(isinstance(item, syntax.Train) for item in items):
        yield end, end, f"\n{_train_block(model)}\n"


def _constant(value: object, name: syntax.Name) -> str:
    """A constant as text of the language. Raises E0303 if there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_constant(item, name) for item in value)}]"
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} has no numeral")
        return net_string(value) if isinstance(value, str) else repr(value)
    except ValueError as error:
        fault("E0303", f"`{name.text}` is set to what no `.net` text can hold", name.span, str(error))


def _split(split: SplitSpec) -> str:
    return f"({', '.join(f'{name} = {share:g}' for name, share in split.fractions)})"


def _train_block(model: Model) -> str:
    """The block with the settings of the text, all numbers of the optimizer, and the defaults."""
    written = {setting.name.text: expression(setting.value) for setting in model.settings}
    train = model.train
    filled = {
        "optimizer": train.optimizer.text(),
        "batch": str(train.batch),
        "epochs": str(train.epochs),
        "seed": str(train.seed),
        "precision": train.precision,
        "shuffle": str(train.shuffle).lower(),
        "accumulate": str(train.accumulate),
        "shards": str(train.shards),
    }
    if train.early_stop is not None:
        stop = train.early_stop
        metric = f"metric = {_better(stop.better)}"
        filled["early_stop"] = f"({metric}, patience = {stop.patience}, margin = {stop.margin!r})"
    if train.plateau is not None:
        plateau = train.plateau
        filled["schedule"] = (
            f"plateau(patience = {plateau.patience}, factor = {plateau.factor!r}, metric = {_better(plateau.better)}, "
            f"margin = {plateau.margin!r})"
        )
    body = {**filled, **{name: value for name, value in written.items() if name not in filled}}
    return "train {\n" + "".join(f"  {name} = {value}\n" for name, value in body.items()) + "}"


def _better(better: Better) -> str:
    return f"{'max' if better.is_higher else 'min'}({better.metric})"
