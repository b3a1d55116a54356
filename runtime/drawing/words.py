"""What a box says: in the picture, and when it is asked."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from netc.compiler.model import Model
from netc.compiler.outline import RESULTS, Box
from netc.compiler.types import describe_sample


@dataclass(frozen=True, slots=True)
class Details:
    """All that is known of a box: its place in the text and the line there, its parameters and states (name, type, count), its work."""

    title: str
    kind: str
    type: str
    place: str
    line: str
    reads: tuple[tuple[str, str, str], ...]
    work: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def lines_of(box: Box, model: Model) -> list[str]:
    """What stands in it: what it is, of which type, and how many parameters it has."""
    told = title_of(box)
    count = _count(box.reads, model)
    return [told, *([box.type] if box.type else []), *([f"{count:,} parameters"] if count else [])]


def title_of(box: Box) -> str:
    if box.kind in RESULTS or box.kind in ("input", "target"):
        return f"{box.kind} {box.title}"
    return f"{box.name} = {box.title}" if box.name else box.title


def details_of(box: Box, model: Model) -> Details:
    infos = {**model.trainables, **model.states}
    reads = [(name, describe_sample(infos[name].type), f"{infos[name].type.size(1):,}") for name in box.reads]
    span = box.span
    is_placed = span.source is model.source
    work = "depends on the length" if box.flops is None else f"{box.flops:,} FLOPs a sample" if box.flops else ""
    return Details(
        title_of(box),
        box.kind,
        box.type,
        f"{span.source.file_name}:{span.line}" if is_placed else "",
        span.source.line(span.line).strip() if is_placed else "",
        tuple(reads),
        work,
    )


def _count(names: Iterable[str], model: Model) -> int:
    return sum(model.trainables[name].type.size(1) for name in names if name in model.trainables)
