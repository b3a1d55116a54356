"""`netc explain M.net --after lower` and `--after plan`: the training step below its graph, as tasks and as a plan."""

from typing import TYPE_CHECKING

from netc.commands.terminal import say_lines

if TYPE_CHECKING:
    from netc.compiler.ir.graph import Graph
    from netc.compiler.model import Model

STAGES = ("lower", "plan")


def show_program(model: "Model", graph: "Graph", stage: str, line: int | None) -> None:
    """Prints the lowered training step of a graph after the passes, or its plan, for the target in use.

    `stage` is one of STAGES. With `line`, prints only the tasks with values of that line of the file. Sequences are as
    long as their bounds.
    """
    from netc.compiler.lowering.lower import lower
    from netc.compiler.planning.plan import plan
    from netc.compiler.program.listing import plan_lines, task_lines
    from netc.compiler.program.tasks import Tasks
    from netc.compiler.targets.named import machine_for
    from netc.runtime.execution.resources import state_layout
    from netc.runtime.execution.step_cost import in_a_step, longest_of, sizes_of

    machine = machine_for()
    sizes = sizes_of(graph, model.train.batch, in_a_step(model, longest_of(model)))
    program = lower(graph, sizes, machine)
    if stage == "plan":
        offsets = state_layout(model, graph)[1]
        say_lines("\n".join(plan_lines(program, plan(program, offsets, sizes, machine))))
        return
    if line is not None:
        tasks = [task for task in program.tasks if any(value.span.line == line for value in task.values)]
        program = Tasks(tasks)
    say_lines("\n".join(task_lines(program)))
