"""The text in a box of the picture, and the details that are shown when it is clicked."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import asdict

from netc.compiler.analysis.outline import RESULTS, Box
from netc.compiler.ir.types import describe_sample
from netc.compiler.model import Model


class Details(Struct, frozen=True):
    """The details of a box: its location in the file and the line there, the parameters and states that it reads (name,
    type, count), and its work.
    """

    title: str
    kind: str
    type: str
    location: str
    line: str
    reads: tuple[tuple[str, str, str], ...]
    work: str

    def as_dict(self) -> dict[str, object]:
        """The details as the script of the page reads them."""
        return asdict(self)


def lines_of(box: Box, model: Model) -> list[str]:
    """The lines of text in a box: what it is, its type, the number of its parameters."""
    count = _count(box.reads, model)
    return [title_of(box), *([box.type] if box.type else []), *([f"{count:,} parameters"] if count else [])]


def title_of(box: Box) -> str:
    """The title of a box, with its name if the model gives it one: `h = dense`."""
    if box.kind in RESULTS or box.kind in ("input", "target"):
        return f"{box.kind} {box.title}"
    return f"{box.name} = {box.title}" if box.name else box.title


def details_of(box: Box, model: Model) -> Details:
    """The details of a box; the location is empty for what another file defines."""
    infos = {**model.trainables, **model.states}
    reads = [(name, describe_sample(infos[name].type), f"{infos[name].type.size(1):,}") for name in box.reads]
    span = box.span
    is_in_file = span.source is model.source
    work = "depends on the length" if box.flops is None else f"{box.flops:,} FLOPs a sample" if box.flops else ""
    return Details(
        title_of(box),
        box.kind,
        box.type,
        f"{span.source.file_name}:{span.line}" if is_in_file else "",
        span.source.line(span.line).strip() if is_in_file else "",
        tuple(reads),
        work,
    )


def _count(names: Iterable[str], model: Model) -> int:
    return sum(model.trainables[name].type.size(1) for name in names if name in model.trainables)
