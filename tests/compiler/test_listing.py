"""A lowered program and its plan print, and read back to equal kernels, arguments and addresses."""

import numpy as np
import pytest
from support import ROOT

import netc
from netc.compiler import pipeline
from netc.compiler.ir.forms import Custom
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.types import Sizes
from netc.compiler.ir.value import OPERATIONS, Operation
from netc.compiler.lowering.lower import lower
from netc.compiler.planning.plan import plan
from netc.compiler.planning.verify_plan import verify_plan
from netc.compiler.program.kernel_listing import count_text, expression_text, kernel_lines
from netc.compiler.program.kernel_parser import parse_count, parse_expression, parse_kernel
from netc.compiler.program.kernels import CustomKernel
from netc.compiler.program.listing import plan_lines, task_lines
from netc.compiler.program.listing_parser import parse_tasks
from netc.compiler.program.plan import Plan, layout
from netc.compiler.program.plan_parser import parse_plan
from netc.compiler.program.scalars import Number
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Task, Tasks
from netc.compiler.program.verify import verify_tasks
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.named import NAMED
from netc.dsl.structs import replace
from netc.runtime.execution.step_cost import in_a_step, longest_of, sizes_of
from tests.programs.generator import outcome

SEEDS = range(6)
EXAMPLES = ("bf16 iris", "adding", "cmudict")


def lowered(model: netc.Model, graph: Graph, target: str) -> tuple[Tasks, Plan]:
    machine = replace(NAMED[target], cores=2)
    sizes: Sizes = sizes_of(graph, model.train.batch, in_a_step(model, longest_of(model)))
    tasks = lower(graph, sizes, machine)
    persistent = [buffer for buffer in tasks.leaves.values() if buffer.kind == "persistent"]
    offsets = layout((buffer.name, buffer.type.nbytes(1)) for buffer in persistent)[0]
    return tasks, plan(tasks, offsets, sizes, machine)


def model_of(name: str) -> netc.Model:
    """The model of an example, perhaps in bf16, or of a generated program."""
    kind, _, seed = name.partition(" ")
    if kind == "bf16":
        model = netc.load(ROOT / "examples" / f"{seed}.net")
        return replace(model, train=replace(model.train, precision="bf16"))
    if kind != "generated":
        return netc.load(ROOT / "examples" / f"{name}.net")
    program = outcome(int(seed)).program
    assert program is not None
    return netc.parse(program.text)


def arguments(task: Task, names: dict[Buffer, int]) -> list[object]:
    """The fields of a task, with numbers in place of buffers, because a buffer is equal only to itself."""
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


@pytest.mark.parametrize("name", [*EXAMPLES, *(f"generated {seed}" for seed in SEEDS)])
def test_a_program_and_its_plan_read_back(name: str) -> None:
    model = model_of(name)
    for number, graph in enumerate((pipeline.training_graph(model), pipeline.prediction_graph(model))):
        target = ("sse2", "amx")[number]
        tasks, planned = lowered(model, pipeline.run_passes(graph), target)
        text = "\n".join(task_lines(tasks))
        again = parse_tasks(text)
        assert_equal_tasks(again, tasks)
        verify_tasks(again)
        text_of_plan = "\n".join(plan_lines(tasks, planned))
        program, plan_again = parse_plan(text_of_plan)
        assert plan_again.schedule == planned.schedule
        assert_equal_tasks(with_tasks_of(program, plan_again), with_tasks_of(tasks, planned))
        assert replace(plan_again, tasks=()) == replace(planned, tasks=())
        verify_plan(program, plan_again)
        without_comments = "\n".join(line.partition("  # ")[0] for line in text.splitlines())
        assert "\n".join(task_lines(again)) == without_comments


def with_tasks_of(program: Tasks, planned: Plan) -> Tasks:
    return Tasks(list(planned.tasks), program.leaves, program.results)


EXPRESSIONS = (
    "t0 + f32(1.0)",
    "-t0 * (t1 - f64(-2.0)) / t2",
    "f32(inf) if t0 >= t1 or t0 != t0 else f32(-inf)",
    "exp.f32(max.f32(t0, f32(0))) - f32(t1)",
    "not (t0 and t1)",
    "bool(True)",
    "f64(1e+300) ** t0",
    "f32(nan)",
    "t0 & t1 << i32(2)",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_reads_back(text: str) -> None:
    tree = parse_expression(text)
    assert parse_expression(expression_text(tree)) == tree
    assert expression_text(tree) == text


def test_numbers_that_python_takes_for_equal_are_different() -> None:
    """Kernels that differ in the sign of a zero must not share machine code."""
    texts = ("f32(0)", "f32(0.0)", "f32(-0.0)", "f64(0.0)", "f32(nan)", "bool(False)")
    assert len({parse_expression(text) for text in texts}) == len(texts)
    assert parse_expression("f32(nan)") == Number("nan", "f32")


@pytest.mark.parametrize("text", ["t0[0]", "t0 +", "exp(t0)", "t0.x", "lambda: t0", "exp.f32(t0, base=t1)", "f99(t0)"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        parse_expression(text)


KERNELS = (
    """for i0 < n0 = 4 * 'steps of 60'
for i1 < 5, folded
sums in one block
t0 = i32 p0[i0]
t1 = f32 p1[i1 * -2 + t0 * 7]
t2 = i32 range[i0 * 5 + i1]
f32 p2[i0] = fold of t1 from f32(-inf) by a if a >= b else b with keys max""",
    """for i0 < n0 = batch
t0 = i32 p0[i0]
t1 = f32 p1[0]
f32 p2[t0 * 1] = combined with t1 by a + b""",
    """for i0 < 3
for i1 < 5, folded
t0 = f32 p0[i0 * 5 + i1]
i32 p1[i0] = index of the largest t0""",
    """for i0 < n0 = rows
s0 = 40 * batch
s1 = time
t0 = f32 p0[i0]
t1 = t0 / f32(s0) + f32(s1)
f32 p1[i0] = t1""",
    "stores i32 n0 = 2 * time",
)


@pytest.mark.parametrize("text", KERNELS)
def test_a_kernel_reads_back(text: str) -> None:
    kernel, counts = parse_kernel(text.splitlines(), (0, 1, 2))
    assert "\n".join(kernel_lines(kernel, counts)) == text


@pytest.mark.parametrize("count", [Count(3), Count(0), Count(1, "rows"), Count(4, "batch"), Count(2, "2 * time")])
def test_a_count_reads_back(count: Count) -> None:
    assert parse_count(count_text(count)) == count


PROGRAM = """x  f32[batch, 5], table
y  f32[batch], result
leaves: x
results: output.y = y

task 0: loop of %1 sum; rows of batch
  p0 = x, 5 a row
  p1 = y, 1 a row
  for i0 < n0 = rows
  for i1 < 5, folded
  t0 = f32 p0[i0 * 5 + i1]
  f32 p1[i0] = fold of t0 from f32(0.0) by a + b
  writes y"""


def test_a_program_that_is_written_by_hand_is_checked() -> None:
    program = parse_tasks(PROGRAM)
    verify_tasks(program)
    assert next(iter(task_lines(program))) == "x  f32[batch, 5], table"
    (task,) = program.tasks
    assert "sum" not in source_of(task.kernel).text
    assert "total0 = total0 + t0" in source_of(task.kernel).text


BROKEN = {
    "a line before its own": ("t0 = f32 p0[i0 * 5 + i1]", "t0 = t1 * t1", "before their lines"),
    "a pointer too many": ("  writes y", "  p2 = y\n  writes y", "a pointer that no access uses"),
    "another type": ("f32 p0[", "i32 p0[", "i32 in a buffer of f32"),
    "a write that is not declared": ("writes y", "writes x", "other buffers"),
    "rows of nothing": ("; rows of batch", "; as one piece", "rows without an axis"),
    "an output of nothing": ("fold of t0", "fold of t7", "which has no line"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_program_is_caught(name: str) -> None:
    before, after, message = BROKEN[name]
    assert before in PROGRAM
    with pytest.raises(AssertionError, match=message):
        verify_tasks(parse_tasks(PROGRAM.replace(before, after)))


UNREADABLE = {
    "a buffer that is not there": ("p0 = x", "p0 = z", "there is no buffer z"),
    "a line of no kernel": ("for i1 < 5, folded", "while i1 < 5", "not a line of a kernel"),
    "an index without a loop": ("i0 * 5 + i1", "i0 * 5 + i2", "an index without a loop"),
    "an address": ("p0 = x, 5 a row", "p0 = x, 5 a row at shared + 0", "outside of a plan"),
    "another kind of memory": ("table", "heap", "not a line of a program"),
    "a fold from another line": ("from f32(0.0)", "from t0", "begins with a number"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused(name: str) -> None:
    before, after, message = UNREADABLE[name]
    assert before in PROGRAM
    with pytest.raises(ValueError, match=message):
        parse_tasks(PROGRAM.replace(before, after, 1))


def smooth(out, x, least):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = max(x[i], least)


def test_a_custom_kernel_reads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Operation(
        "smooth",
        "max(x, least)",
        type=lambda x, least: x,
        reference=lambda x, least: np.maximum(x, least),
        lower=Custom(smooth),
    )
    monkeypatch.setitem(OPERATIONS, "smooth", operation)
    graph = parse_graph(
        "%0 = input[name='x']() : f32[batch, 4]\n%1 = smooth[least=0.25](%0) : f32[batch, 4]\noutput.y = %1\n"
    )
    program = lower(graph, 8, NAMED["avx2"])
    text = "\n".join(task_lines(program))
    again = parse_tasks(text)
    assert_equal_tasks(again, program)
    assert any(isinstance(task.kernel, CustomKernel) for task in again.tasks)
    verify_tasks(again)
    monkeypatch.delitem(OPERATIONS, "smooth")
    with pytest.raises(ValueError, match="no operation with a custom kernel"):
        parse_tasks(text)


PLAN = """sizes: batch = 8
shared arena 512 bytes, each worker's own 512 bytes
x  f32[batch, 5], table
y  f32[batch], result
leaves: x
results: output.y = y
table x: 0 bytes a step, 20 a sample
table y: 0 bytes a step, 4 a sample

phase 0
  rows of batch, 8 at a time, in multiples of 16
    task 0: loop of %1 sum; rows of batch
      p0 = x, 5 a row at table x + 0, 20 a row
      p1 = y, 1 a row at table y + 0, 4 a row
      for i0 < n0 = rows
      for i1 < 5, folded
      t0 = f32 p0[i0 * 5 + i1]
      f32 p1[i0] = fold of t0 from f32(0.0) by a + b
      writes y"""


def test_a_plan_that_is_written_by_hand_is_checked() -> None:
    program, planned = parse_plan(PLAN)
    verify_plan(program, planned)
    assert planned.sizes == 8
    assert [group.row_block for phase in planned.schedule.phases for group in phase] == [8]


BROKEN_PLANS = {
    "rows that lie elsewhere": ("table y + 0, 4 a row", "table y + 0, 8 a row", AssertionError, "is at another place"),
    "an element behind the end": ("i0 * 5 + i1", "i0 * 5 + i1 * 2", AssertionError, "reaches element"),
    "a table that is not there": ("at table x", "at table z", ValueError, "there is no table z"),
    "a pointer without an address": (" at table x + 0, 20 a row", "", ValueError, "a pointer without an address"),
    "a task outside of a group": (
        "  rows of batch, 8 at a time, in multiples of 16\n",
        "",
        ValueError,
        "outside of a group",
    ),
}


@pytest.mark.parametrize("name", BROKEN_PLANS)
def test_a_broken_plan_is_caught(name: str) -> None:
    before, after, error, message = BROKEN_PLANS[name]
    assert before in PLAN
    with pytest.raises(error, match=message):
        verify_plan(*parse_plan(PLAN.replace(before, after)))
