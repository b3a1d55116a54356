"""Checks the split of a `data` block: `split = (train = 0.8, test = 0.2)` becomes a SplitSpec."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.synonyms import Kind
from netc.runtime.data.constant_values import call_of, constant_value
from netc.runtime.data.declarations import PARTS, Constants, SourceSpec, SplitSpec
from netc.runtime.data.source_spec import parse_source

_WAYS = ("ordered", "by", "column")


def parse_split(node: syntax.Expression, constants: Constants) -> SplitSpec:
    """A split.

    Faults E0602 if its parts are not train, valid and test, or their fractions are not right; E0301 without a column
    that it needs.
    """
    way, arguments = call_of(node)
    if isinstance(node, syntax.Tuple):
        way, arguments = "random", node.entries
    elif way not in _WAYS:
        fact = f"there is no split `{way}`" if way else "a split names its parts"
        hint = nearest(way, _WAYS, Kind.SPLIT) or "split = (train = 0.8, valid = 0.1, test = 0.1)"
        fault("E0602", fact, node.span, hint=hint)
    column: str | None = None
    if way in ("by", "column"):
        column = _column(way, node, arguments, constants)
        arguments = arguments[1:]
    if way == "column":
        return SplitSpec(way, (), column, (), node.span)
    parts = _parts(arguments, constants)
    total = sum(parts.fractions.values())
    if total > 1 + 1e-9 or ("train" in parts.sources and total >= 1):
        fault("E0602", "the fractions add up to more than 1", node.span, f"they add up to {total:g}")
    if "train" not in parts.fractions and "train" not in parts.sources:
        fault("E0602", "a split needs a part `train`", node.span)
    if parts.sources and way != "random":
        fault("E0602", f"`{way}` takes fractions of one source", node.span)
    return SplitSpec(way, tuple(parts.fractions.items()), column, tuple(parts.sources.items()), node.span)


def _column(way: str, node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> str:
    """The column that `by("patient", ...)` or `column("part")` names."""
    first = arguments[0] if arguments else None
    name = constant_value(first.value, constants) if first is not None and first.name is None else None
    if not isinstance(name, str) or (way == "column" and len(arguments) > 1):
        example = 'by("patient", train = 0.8, test = 0.2)' if way == "by" else 'column("part")'
        fault("E0301", f"`{way}` takes the name of a column in quotes", node.span, hint=f"split = {example}")
    return name


@dataclass(frozen=True, slots=True)
class _Parts:
    """The fraction of each part that is taken from the block's source, and the sources of the others."""

    fractions: dict[str, float] = field(default_factory=dict)
    sources: dict[str, SourceSpec] = field(default_factory=dict)


def _parts(entries: Sequence[syntax.Argument], constants: Constants) -> _Parts:
    parts = _Parts()
    for entry in entries:
        name = entry.name.text if isinstance(entry.name, syntax.Name) else ""
        hint = nearest(name, PARTS, Kind.PART) or "train, valid and test"
        if name not in PARTS:
            fault("E0602", f"there is no part `{name or entry.span.text}`", entry.span, hint=hint)
        if name in parts.fractions or name in parts.sources:
            fault("E0602", f"the part `{name}` is given twice", entry.span, hint=hint)
        if isinstance(entry.value, syntax.Call):
            parts.sources[name] = parse_source(entry.value, constants)
            continue
        fraction = constant_value(entry.value, constants)
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            fault("E0602", "a fraction is above 0 and at most 1", entry.value.span)
        parts.fractions[name] = float(fraction)
    return parts
