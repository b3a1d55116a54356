"""Checks the split of a `data` block: `split = (train = 0.8, test = 0.2)` becomes a SplitSpec."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.block.constant_values import call_of, constant_or_truth, constant_value
from netc.runtime.data.block.declarations import PARTS, Constants, SourceSpec, SplitSpec
from netc.runtime.data.block.source import parse_source

WAYS = ("ordered", "by", "hash", "column", "folds")
_SEEDED = ("random", "by", "hash")  # ways that a seed changes, besides folds
_COLUMN_EXAMPLES = {
    "by": 'by("patient", train = 0.8, test = 0.2)',
    "hash": 'hash("id", train = 0.8, test = 0.2)',
    "column": 'column("part")',
}
_FOLD_ARGUMENTS = ("by", "fold", "seed", "ordered", "test")
_FOLDS_EXAMPLE = 'folds(5) or folds(5, by = "patient")'


def parse_split(node: syntax.Expression, constants: Constants) -> SplitSpec:
    """A split.

    Raises E0602 if its parts are not among PARTS, or their fractions are not right; E0301 and E0303 without a
    column or a number that it needs.
    """
    way, arguments = call_of(node)
    if isinstance(node, syntax.Tuple):
        way, arguments = "random", node.entries
    elif way not in WAYS:
        fact = f"there is no split `{way}`" if way else "a split names its parts"
        hint = nearest(way, WAYS, Kind.SPLIT) or "split = (train = 0.8, valid = 0.1, test = 0.1)"
        fault("E0602", fact, node.span, hint=hint)
    if way == "folds":
        return _folds(node, arguments, constants)
    column: str | None = None
    if way in _COLUMN_EXAMPLES:
        column = _column(way, node, arguments, constants)
        arguments = arguments[1:]
    if way == "column":
        return SplitSpec(way, (), column, (), node.span)
    parts = _parts(arguments, constants, takes_seed=way in _SEEDED)
    total = sum(parts.fractions.values())
    if total > 1 + 1e-9 or ("train" in parts.sources and total >= 1):
        less = _with_less_for_training(parts.fractions, total) if way == "random" else None
        fault("E0602", "the fractions add up to more than 1", node.span, f"they add up to {total:g}", hint=less)
    if "train" not in parts.fractions and "train" not in parts.sources:
        rest = 1 - total
        entries = [f"{name} = {share:g}" for name, share in parts.fractions.items()]
        shares = f"({', '.join([f'train = {rest:g}', *entries])})" if rest > 1e-9 and not parts.sources else None
        fault("E0602", "a split needs a part `train`", node.span, hint=shares)
    if parts.sources and way != "random":
        fault("E0602", f"`{way}` takes fractions of one source", node.span)
    fractions, sources = tuple(parts.fractions.items()), tuple(parts.sources.items())
    return SplitSpec(way, fractions, column, sources, node.span, parts.seed or 0)


def _with_less_for_training(fractions: Mapping[str, float], total: float) -> str | None:
    """The split whose training part is what the others leave; None if they leave nothing."""
    rest = 1 - (total - fractions.get("train", 0.0))
    if "train" not in fractions or rest <= 1e-9:
        return None
    return f"split = ({', '.join(f'{name} = {share:g}' for name, share in {**fractions, 'train': rest}.items())})"


def with_fold(file: syntax.File, fold: int) -> syntax.File:
    """A file whose split into folds takes the fold of this number as its validation part, whatever the text says.

    Raises E0602 if the file has no such split.
    """
    data = next((item for item in file.items if isinstance(item, syntax.Data)), None)
    split = next((setting for setting in data.settings if setting.name.text == "split"), None) if data else None
    value = split.value if split is not None else None
    if data is None or not isinstance(value, syntax.Call) or call_of(value)[0] != "folds":
        span = value.span if value is not None else Span(file.source, 0, 0)
        fault("E0602", "the file has no split into folds", span, hint=f"split = {_FOLDS_EXAMPLE}")
    others = tuple(argument for argument in value.arguments if _key(argument) != "fold")
    number = syntax.Argument(value.span, syntax.Name(value.span, "fold"), syntax.Number(value.span, str(fold)))
    changed = replace(value, arguments=(*others, number))
    settings = tuple(replace(setting, value=changed) if setting is split else setting for setting in data.settings)
    items = (replace(item, settings=settings) if item is data else item for item in file.items)
    return replace(file, items=tuple(items))


def _column(way: str, node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> str:
    """The column that `by("patient", ...)`, `hash("id", ...)` or `column("part")` names."""
    first = arguments[0] if arguments else None
    name = constant_value(first.value, constants) if first is not None and first.name is None else None
    if not isinstance(name, str) or (way == "column" and len(arguments) > 1):
        example = f"split = {_COLUMN_EXAMPLES[way]}"
        fault("E0301", f"`{way}` takes the name of a column in quotes", node.span, hint=example)
    return name


def _folds(node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> SplitSpec:
    """Reads `folds(5)`, `folds(5, by = "patient", fold = 2, seed = 1, test = 0.2)`, `folds(5, ordered = true)`."""
    values: dict[str, Any] = {}
    for argument in arguments:
        key = _key(argument)
        if (key and key not in _FOLD_ARGUMENTS) or key in values:
            fact = f"`{key}` is given twice" if key in values else f"`folds` has no argument `{key}`"
            hint = nearest(key, _FOLD_ARGUMENTS) or _FOLDS_EXAMPLE
            fault("E0302", fact if key else "`folds` takes one number", argument.span, hint=hint)
        values[key] = _fold_argument(key, argument.value, constants)
    count, column, fold = values.get("", 0), values.get("by"), values.get("fold", 1)
    if not _is_whole(count) or count < 2:
        fault("E0303", "`folds` takes their number, at least 2", node.span, hint=f"split = {_FOLDS_EXAMPLE}")
    if column is not None and (not isinstance(column, str) or not column):
        fault("E0303", "`by` is the name of a column in quotes", node.span, hint=f"split = {_FOLDS_EXAMPLE}")
    if not _is_whole(fold) or not 1 <= fold <= count:
        fault("E0602", f"there is no fold {fold}", node.span, f"they are 1 to {count}")
    is_ordered = values.get("ordered", False)
    if is_ordered and (column is not None or "seed" in values):
        fact = "ordered folds follow the order of the rows: neither groups nor a seed divide them"
        fault("E0602", fact, node.span, hint="a `series` keeps its rows in the order of time, each series by itself")
    seed, test = values.get("seed", 0), values.get("test", 0.0)
    return SplitSpec("folds", (), column, (), node.span, seed, count, fold, is_ordered, test)


def _fold_argument(key: str, node: syntax.Expression, constants: Constants) -> Any:
    """The value of an argument of `folds`."""
    if key == "seed":
        return _seed(node, constants)
    if key == "test":
        return _fraction(node, constants, most=1 - 1e-9)
    if key != "ordered":
        return constant_value(node, constants)
    value = constant_or_truth(node, constants)
    if not isinstance(value, bool):
        fault("E0303", "`ordered` is true or false", node.span, hint="folds(5, ordered = true)")
    return value


def _key(argument: syntax.Argument) -> str:
    """The name of an argument; empty if it has none."""
    return argument.name.text if isinstance(argument.name, syntax.Name) else ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seed(node: syntax.Expression, constants: Constants) -> int:
    seed = constant_value(node, constants)
    if not _is_whole(seed):
        fault("E0602", "`seed` is a whole number", node.span)
    return int(seed)


class _Parts(Struct):
    """The fraction of each part that is taken from the block's source, the sources of the others, and the seed."""

    fractions: dict[str, float] = field(default_factory=dict)
    sources: dict[str, SourceSpec] = field(default_factory=dict)
    seed: int | None = None


def _parts(entries: Sequence[syntax.Argument], constants: Constants, takes_seed: bool) -> _Parts:
    parts = _Parts()
    for entry in entries:
        name = entry.name.text if isinstance(entry.name, syntax.Name) else ""
        if name == "seed" and takes_seed and parts.seed is None:
            parts.seed = _seed(entry.value, constants)
            continue
        if not name and not isinstance(entry.value, syntax.Name):
            hint = "split = (train = 0.8, valid = 0.1, test = 0.1)"
            fault("E0602", "each share of a split has the name of its part", entry.span, hint=hint)
        hint = nearest(name, PARTS, Kind.PART) or "train, valid, test and calibration"
        if name not in PARTS:
            fault("E0602", f"there is no part `{name or entry.span.text}`", entry.span, hint=hint)
        if name in parts.fractions or name in parts.sources:
            fault("E0602", f"the part `{name}` is given twice", entry.span, hint=hint)
        if isinstance(entry.value, syntax.Call):
            parts.sources[name] = parse_source(entry.value, constants)
            continue
        parts.fractions[name] = _fraction(entry.value, constants)
    return parts


def _fraction(node: syntax.Expression, constants: Constants, most: float = 1) -> float:
    """The share of a part. Raises E0602 if it is none, or if it leaves no rows where some are needed (`most`)."""
    fraction = constant_value(node, constants)
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= most:
        is_percent = isinstance(fraction, int | float) and 1 < fraction < 100
        hint = Hint(f"{fraction / 100:g} for {fraction:g} %", Change(f"{fraction / 100:g}")) if is_percent else None
        fault("E0602", f"a fraction is above 0 and {'at most' if most == 1 else 'below'} 1", node.span, hint=hint)
    return float(fraction)
