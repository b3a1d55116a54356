"""What is below the graph, as text, for the headings of golden cases: `fuse`, `lower`, `products`, `phases` and `plan`."""

from collections.abc import Callable, Iterable

from golden_products import check_products

from netc.compiler.graph import Graph
from netc.compiler.passes.fuse import fuse
from netc.compiler.passes.listing import fusion_lines, phase_lines, plan_lines, task_lines
from netc.compiler.passes.lower import Lowering, lower
from netc.compiler.passes.phases import divide
from netc.compiler.passes.plan import layout, plan
from netc.compiler.passes.scans import in_ranks
from netc.compiler.passes.tasks import Buffer, Tasks, whole
from netc.compiler.types import BATCH, Sizes


def _sizes(batch: int, rows: dict[str, int]) -> Sizes:
    """A batch, and the rows of varying dimensions by name."""
    return {BATCH: batch, **rows} if rows else batch


def _fuse(graph: Graph) -> str:
    return _text(fusion_lines(fuse(graph)))


def _lower(graph: Graph, batch: int = 32, **rows: int) -> str:
    return _text(task_lines(lower(graph, _sizes(batch, rows))))


def _products(graph: Graph, batch: int = 32, **rows: int) -> str:
    """As `lower`, but the rows of inputs are in memory already, in order. Whatever the counts and strides name must be the product."""
    lowering = Lowering(in_ranks(graph), _sizes(batch, rows))
    for value in lowering.graph.values("input"):
        lowering.places[value] = whole(Buffer(value.type, "temporary", str(value.attributes["name"])))
    program = lowering.run()
    check_products(graph, program)
    return _text(task_lines(program))


def _phases(graph: Graph, batch: int = 32, **rows: int) -> str:
    return _text(phase_lines(divide(lower(graph, _sizes(batch, rows)).tasks, batch)))


def _plan(graph: Graph, batch: int = 32, **rows: int) -> str:
    program, sizes = lower(graph, _sizes(batch, rows)), _sizes(batch, rows)
    return _text(plan_lines(plan(program, _persistent(program), sizes)))


def _persistent(program: Tasks) -> dict[str, int]:
    """Where parameters and states stay: one behind another, in the order of the graph."""
    stays = [buffer for buffer in program.leaves.values() if buffer.kind == "persistent"]
    return layout((buffer.name, buffer.type.nbytes(1)) for buffer in stays)[0]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


LISTINGS: dict[str, Callable[..., str]] = {
    "fuse": _fuse,
    "lower": _lower,
    "products": _products,
    "phases": _phases,
    "plan": _plan,
}
