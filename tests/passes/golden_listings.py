"""The stages after the passes as text: the headings `fuse`, `lower`, `products`, `phases`, `plan` and `kernels`.

The machine is one of the descriptions here, so the texts do not depend on the machine that runs the tests:
`lower(target='sse2')`. The other arguments of a heading are `batch`, numbers of the description that a case makes
smaller (`second_cache`, `many_bytes`), and the rows of varying dimensions by name.
"""

from collections.abc import Callable, Iterable

from fusion_listing import fusion_lines
from golden_emulation import check_emulated
from golden_numbers import in_f64
from msgspec import Struct
from phase_listing import phase_lines

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.fuse import fuse
from netc.compiler.lowering.lower import lower
from netc.compiler.lowering.walk import lower_graph
from netc.compiler.passes.scans import in_ranks
from netc.compiler.planning.phases import divide
from netc.compiler.planning.plan import plan
from netc.compiler.program.listing import plan_lines, task_lines, title
from netc.compiler.program.listing_parser import parse_tasks
from netc.compiler.program.plan import layout
from netc.compiler.program.plan_parser import parse_plan
from netc.compiler.program.tasks import Buffer, Tasks, all_of
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import Machine
from netc.dsl.structs import replace

_MACHINES = {
    "sse2": Machine("x86-64", "", 16, False, 16),
    "avx2": Machine("x86-64-v3", "", 32, True, 16),
    "avx512": Machine("x86-64-v4", "", 64, True, 32),
}


class _Where(Struct, frozen=True):
    """The sizes and the machine that a program is lowered for."""

    batch: int
    sizes: Sizes
    machine: Machine


def _where(
    batch: int = 32, target: str = "avx2", second_cache: int = 512 << 10, many_bytes: int = 1 << 18, **rows: int
) -> _Where:
    machine = replace(_MACHINES[target], second_cache=second_cache, many_bytes=many_bytes)
    return _Where(batch, {BATCH: batch, **rows} if rows else batch, machine)


def _fuse(graph: Graph, where: _Where) -> Iterable[str]:
    return fusion_lines(fuse(graph))


def _lower(graph: Graph, where: _Where) -> Iterable[str]:
    lines = list(task_lines(lower(graph, where.sizes, where.machine)))
    assert list(task_lines(parse_tasks("\n".join(lines)))) == lines
    return lines


def _kernels(graph: Graph, where: _Where) -> Iterable[str]:
    """The text of each task's kernel for CPUs."""
    for number, task in enumerate(lower(graph, where.sizes, where.machine).tasks):
        yield f"# task {number}: {title(task)}"
        yield from source_of(task.kernel).text.splitlines()


def _products(graph: Graph, where: _Where) -> Iterable[str]:
    """The same as `lower`, but the rows of inputs are in memory already, in order."""
    lowering = Lowering(in_ranks(graph), where.sizes, where.machine)
    for value in lowering.graph.values(Role.INPUT):
        lowering.views[value] = all_of(Buffer(value.type, "temporary", value.name))
    return task_lines(lower_graph(lowering))


def _phases(graph: Graph, where: _Where) -> Iterable[str]:
    program = lower(graph, where.sizes, where.machine)
    return phase_lines(divide(program.tasks, where.batch, where.machine))


def _plan(graph: Graph, where: _Where) -> Iterable[str]:
    program = lower(graph, where.sizes, where.machine)
    lines = list(plan_lines(program, plan(program, _persistent(program), where.sizes, where.machine)))
    assert list(plan_lines(*parse_plan("\n".join(lines)))) == lines
    return lines


def _persistent(program: Tasks) -> dict[str, int]:
    """The offsets of parameters and states, one behind another in the order of the graph."""
    stays = [buffer for buffer in program.leaves.values() if buffer.kind == "persistent"]
    return layout((buffer.name, buffer.type.nbytes(1)) for buffer in stays)[0]


_FORMS: dict[str, Callable[[Graph, _Where], Iterable[str]]] = {
    "fuse": _fuse,
    "lower": _lower,
    "kernels": _kernels,
    "products": _products,
    "phases": _phases,
    "plan": _plan,
}
LISTINGS = frozenset(_FORMS)


def listing(form: str, text: str, **arguments: int | str) -> str:
    """The text for a heading. It also asserts that a plan of the graph computes the right numbers."""
    where = _where(**arguments)  # type: ignore[arg-type]
    for source, tolerance in ((text, 2e-4), (in_f64(text), 1e-9)):
        check_emulated(parse_graph(source), where.batch, where.machine, tolerance)
    return "\n".join(_FORMS[form](parse_graph(text), where)) + "\n"
