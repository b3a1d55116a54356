"""The split of a `data` block, checked."""

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.runtime.data.declarations import PARTS, Constants, SourceSpec, SplitSpec
from netc.runtime.data.literals import call_of, plain
from netc.runtime.data.source_spec import parse_source


def parse_split(node: syntax.Expression, constants: Constants) -> SplitSpec:
    way, arguments = call_of(node)
    if isinstance(node, syntax.Tuple):
        way, arguments = "random", node.entries
    elif way not in ("ordered", "by", "column"):
        fault(
            "E0602",
            f"there is no split `{way}`" if way else "a split names its parts",
            node.span,
            hint=nearest(way, ("ordered", "by", "column")) or "split = (train = 0.8, valid = 0.1, test = 0.1)",
        )
    column: str | None = None
    if way in ("by", "column"):
        first = arguments[0] if arguments else None
        name = plain(first.value, constants) if first is not None and first.name is None else None
        if not isinstance(name, str) or (way == "column" and len(arguments) > 1):
            example = 'by("patient", train = 0.8, test = 0.2)' if way == "by" else 'column("part")'
            fault("E0301", f"`{way}` takes the name of a column in quotes", node.span, hint=f"split = {example}")
        column, arguments = name, arguments[1:]
    if way == "column":
        return SplitSpec(way, (), column, (), node.span)
    fractions: dict[str, float] = {}
    sources: dict[str, SourceSpec] = {}
    for entry in arguments:
        part = entry.name.text if isinstance(entry.name, syntax.Name) else ""
        if part not in PARTS or part in fractions or part in sources:
            fault(
                "E0602",
                f"there is no part `{part or entry.span.text}`"
                if part not in PARTS
                else f"the part `{part}` is given twice",
                entry.span,
                hint=nearest(part, PARTS) or "train, valid and test",
            )
        if isinstance(entry.value, syntax.Call):
            sources[part] = parse_source(entry.value, constants)
            continue
        fraction = plain(entry.value, constants)
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            fault("E0602", "a fraction is above 0 and at most 1", entry.value.span)
        fractions[part] = float(fraction)
    total = sum(fractions.values())
    if total > 1 + 1e-9 or ("train" in sources and total >= 1):
        fault("E0602", "the fractions add up to more than 1", node.span, f"they add up to {total:g}")
    if "train" not in fractions and "train" not in sources:
        fault("E0602", "a split needs a part `train`", node.span)
    if sources and way != "random":
        fault("E0602", f"`{way}` takes fractions of one source", node.span)
    return SplitSpec(way, tuple(fractions.items()), column, tuple(sources.items()), node.span)
