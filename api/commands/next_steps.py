"""Commands to continue with after a training, with the real path of its run, ready to be pasted."""

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netc.commands.quantities import lasting
from netc.commands.terminal import say
from netc.dsl.plural import counted

if TYPE_CHECKING:
    from netc.runtime.metric_values import Row
    from netc.runtime.runs.run import Run

_INDENT, _GAP = 2, 2


def quoted(path: Path | str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def show_next_steps(run: "Run") -> None:
    """Prints a summary of a run that is trained, and the commands that go on from it."""
    say()
    say(_summary([*run.metrics], run.folder))
    show_commands([*_commands(run)])


def show_commands(commands: Sequence[tuple[str, str]]) -> None:
    """Prints commands with what each is for. A command is never cut; its purpose stands behind it where there is
    room."""
    say("next:")
    widest = max(len(command) for command, _ in commands)
    width_left = shutil.get_terminal_size().columns - widest - _INDENT - _GAP
    fits = all(len(purpose) < width_left for _, purpose in commands)
    for command, purpose in commands:
        line = f"{command.ljust(widest)}{' ' * _GAP}{purpose}" if fits else command
        say(" " * _INDENT + line)


def _summary(rows: "list[Row]", folder: Path) -> str:
    seconds = sum(value for row in rows if isinstance(value := row.get("seconds"), float))
    return f"{counted(len(rows), 'epoch')} in {lasting(seconds)} -> {folder}"


def _commands(run: "Run") -> Iterator[tuple[str, str]]:
    folder = quoted(run.folder)
    yield f"netc report {folder}", "curves and mistakes, as a page"
    if _generates(run):
        yield f'netc generate {folder} --prompt "..."', "continues a text"
    elif run.model.outputs:
        yield f"netc predict {folder} {_data(run)}", "predicts for data"
    yield f"netc export {folder} -o {quoted(run.folder.name + '.onnx')}", "for other programs"


def _data(run: "Run") -> str:
    """The data that the model was trained on, as an example of data to predict for."""
    source = run.spec.source
    path = run.model.source.folder / source.path
    if not os.path.isfile(path):
        return "DATA"
    return quoted(min(str(path), os.path.relpath(path), key=len))


def _generates(run: "Run") -> bool:
    """Whether `netc generate` can continue a text with the run: its one output scores the tokens of its one input."""
    from netc.compiler.pipeline import steppable_graph
    from netc.dsl.diagnostics import Fault

    inputs, outputs = [*run.model.inputs.values()], [*run.model.outputs.values()]
    if len(inputs) != 1 or len(outputs) != 1 or not inputs[0].is_varying or inputs[0].classes is None:
        return False
    try:
        steppable_graph(run.model)
    except Fault:
        return False
    return outputs[0].is_float and outputs[0].dims[-1] == inputs[0].classes
