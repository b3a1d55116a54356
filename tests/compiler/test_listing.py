"""A lowered program and its plan print, and read back to equal data: the same kernels, arguments and addresses."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support import ROOT

import netc
from netc.compiler import pipeline
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Sizes
from netc.compiler.lowering.lower import lower
from netc.compiler.planning.plan import plan
from netc.compiler.planning.verify_plan import verify_plan
from netc.compiler.program.listing import plan_lines, task_lines
from netc.compiler.program.listing_parser import parse_plan, parse_tasks
from netc.compiler.program.plan import Plan, layout
from netc.compiler.program.tasks import Buffer, Task, Tasks
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.named import NAMED
from netc.runtime.execution.step_cost import in_a_step, longest_of, sizes_of
from tests.programs.generator import outcome

SEEDS = range(6)
EXAMPLES = ("iris", "adding", "cmudict")


def lowered(model: netc.Model, graph: Graph, target: str) -> tuple[Tasks, Plan]:
    machine = replace(NAMED[target], cores=2)
    sizes: Sizes = sizes_of(graph, model.train.batch, in_a_step(model, longest_of(model)))
    tasks = lower(graph, sizes, machine)
    persistent = [buffer for buffer in tasks.leaves.values() if buffer.kind == "persistent"]
    offsets = layout((buffer.name, buffer.type.nbytes(1)) for buffer in persistent)[0]
    return tasks, plan(tasks, offsets, sizes, machine)


def programs() -> Iterator[tuple[str, netc.Model]]:
    for name in EXAMPLES:
        yield name, netc.load(ROOT / "examples" / f"{name}.net")
    for seed in SEEDS:
        program = outcome(seed).program
        if program is not None:
            yield f"generated {seed}", netc.parse(program.text)


def arguments(task: Task, names: dict[Buffer, int]) -> list[object]:
    """What a task holds, with numbers in place of buffers, which are equal only to themselves."""
    pointers = [
        (names.setdefault(pointer.buffer, len(names)), pointer.buffer.type, pointer) for pointer in task.pointers
    ]
    return [
        [(number, type_, pointer.offset, pointer.lead, pointer.shard) for number, type_, pointer in pointers],
        sorted(names[buffer] for buffer in task.writes),
        [(value.number, value.operation) for value in task.values],
        (task.kernel, task.counts, task.axis, task.grain),
        (task.walk.dim, task.walk.is_reversed) if task.walk is not None else None,
    ]


def assert_equal_tasks(actual: Tasks, expected: Tasks) -> None:
    first, second = dict[Buffer, int](), dict[Buffer, int]()
    assert len(actual.tasks) == len(expected.tasks)
    for task, other in zip(actual.tasks, expected.tasks, strict=True):
        assert arguments(task, first) == arguments(other, second)
        assert source_of(task.kernel) == source_of(other.kernel)
    for named, others in ((actual.leaves, expected.leaves), (actual.results, expected.results)):
        assert [*named] == [*others]
        assert all(
            (buffer.type, buffer.kind, buffer.name, buffer.is_per_step)
            == (others[name].type, others[name].kind, others[name].name, others[name].is_per_step)
            for name, buffer in named.items()
        )


@pytest.mark.parametrize(("name", "model"), [pytest.param(*pair, id=pair[0]) for pair in programs()])
def test_a_program_and_its_plan_read_back(name: str, model: netc.Model) -> None:
    for number, graph in enumerate((pipeline.training_graph(model), pipeline.prediction_graph(model))):
        target = ("sse2", "avx512")[number]
        tasks, planned = lowered(model, pipeline.run_passes(graph), target)
        text = "\n".join(task_lines(tasks))
        again = parse_tasks(text)
        assert_equal_tasks(again, tasks)
        text_of_plan = "\n".join(plan_lines(tasks, planned))
        program, plan_again = parse_plan(text_of_plan)
        assert plan_again.schedule == planned.schedule
        assert_equal_tasks(replace_tasks(program, plan_again), replace_tasks(tasks, planned))
        assert replace(plan_again, tasks=()) == replace(planned, tasks=())
        verify_plan(program, plan_again)
        without_comments = "\n".join(line.partition("  # ")[0] for line in text.splitlines())
        assert "\n".join(task_lines(again)) == without_comments


def replace_tasks(program: Tasks, planned: Plan) -> Tasks:
    return Tasks(list(planned.tasks), program.leaves, program.results)
