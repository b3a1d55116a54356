"""`netc explain M.net --after lower` and `--after plan`: the training step below its graph, as tasks and as a plan."""

from typing import TYPE_CHECKING

from netc.commands.terminal import say_lines
from netc.dsl.structs import replace

if TYPE_CHECKING:
    from netc.compiler.ir.graph import Graph
    from netc.compiler.ir.types import Sizes
    from netc.compiler.model import Model
    from netc.compiler.program.tasks import Task, Tasks
    from netc.compiler.targets.machine import Machine

STAGES = ("lower", "plan")


def lowered(model: "Model", graph: "Graph") -> "tuple[Tasks, Sizes]":
    """Returns the lowered training step of a graph after the passes, for the target in use, and its sizes.

    Sequences are as long as their bounds.
    """
    from netc.compiler.lowering.lower import lower
    from netc.runtime.execution.assumed_bounds import at_assumed_bound
    from netc.runtime.execution.step_cost import in_a_step, lengths_in, longest_of, sizes_of

    longest = in_a_step(model, longest_of(model))
    graph = at_assumed_bound(graph, lengths_in(model.train.batch, longest))
    sizes = sizes_of(graph, model.train.batch, longest)
    return lower(graph, sizes, _machine(model)), sizes


def tasks_of_line(tasks: "list[Task]", line: int | None) -> "list[Task]":
    """Returns the tasks that compute values of a line of the file; all of them without a line."""
    return [task for task in tasks if line is None or any(value.span.line == line for value in task.values)]


def _machine(model: "Model") -> "Machine":
    """This machine, as programs of the model are planned for it."""
    from netc.compiler.targets.named import machine_for

    return replace(machine_for(), shards=model.train.shards)


def show_program(model: "Model", graph: "Graph", stage: str, line: int | None, ranks: int | None = None) -> None:
    """Prints the lowered training step of a graph after the passes, or its plan, as `lowered` makes it.

    `stage` is one of STAGES. With `line`, prints only the tasks with values of that line of the file; with `ranks`,
    what so many ranks share out and gather.
    """
    from netc.compiler.planning.plan import plan
    from netc.compiler.planning.ranks import among_ranks
    from netc.compiler.program.listing import plan_lines, task_lines
    from netc.compiler.program.listing_of_ranks import lines_of_shares
    from netc.compiler.program.tasks import Tasks
    from netc.runtime.execution.resources import state_layout

    program, sizes = lowered(model, graph)
    if stage == "plan":
        machine = _machine(model)
        planned = plan(program, state_layout(model, graph)[1], sizes, machine)
        if ranks is not None:
            planned = among_ranks(planned, machine)
        say_lines("\n".join(plan_lines(program, planned)))
        if ranks is not None:
            say_lines("\n".join(["", *lines_of_shares(planned, ranks)]))
        return
    if line is not None:
        program = Tasks(tasks_of_line(program.tasks, line))
    say_lines("\n".join(task_lines(program)))
