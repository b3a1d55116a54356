"""`start_from`: the parameters and states of another run, by name, as the initial ones of a model."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.compiler.model import Model, StartFrom
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import BEST, CHECKPOINT, read_checkpoint


@dataclass(frozen=True, slots=True)
class StartReport:
    """The outcome for each name: loaded, new in this model, unused in the other run, or of another shape there."""

    path: str
    loaded: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    of_another_shape: tuple[str, ...]

    def describe(self) -> str:
        parts = [
            f"{len(names)} {what}"
            + (f" ({', '.join(map(cell, names[:8]))}{', ...' if len(names) > 8 else ''})" if listed else "")
            for names, what, listed in (
                (self.loaded, "loaded", False),
                (self.new, "new", True),
                (self.unused, "unused", True),
                (self.of_another_shape, "of another shape", True),
            )
            if names or what == "loaded"
        ]
        return f"from {self.path}: " + ", ".join(parts)


def start_from(model: Model, setting: StartFrom, program: Program) -> StartReport:
    """Load all parameters and states, or those that match `only`.

    Faults E1003 if one of them is missing on one side, or has another shape.
    """
    folder = model.source.folder / setting.path
    if not os.path.isdir(folder):
        fault("E1003", f"there is no run `{setting.path}`", setting.span, "paths start from the `.net` file's folder")
    best = folder / BEST
    arrays, _, owned = read_checkpoint(best if os.path.exists(best) else folder / CHECKPOINT)
    mine = {name: program.persistent[name] for name in (*model.trainables, *model.states)}

    for pattern in setting.only:
        if not any(fnmatchcase(name, pattern) for name in (*mine, *owned)):
            hint = nearest(pattern, list(mine)) or f"there are {', '.join(list(mine)[:6])}"
            fault("E1003", f'no parameter is called "{pattern}"', setting.span, hint=hint)

    def is_asked_for(name: str) -> bool:
        return not setting.only or any(fnmatchcase(name, pattern) for pattern in setting.only)

    fits = [name for name in mine if name in owned and arrays[name].shape == mine[name].shape]
    other = tuple(name for name in mine if name in owned and name not in fits)
    report = StartReport(
        setting.path,
        tuple(name for name in fits if is_asked_for(name)),
        tuple(name for name in mine if name not in owned),
        tuple(name for name in owned if name not in mine),
        other,
    )
    refused = [name for name in (*report.new, *report.unused, *other) if is_asked_for(name)]
    if refused or not report.loaded:
        fault(
            "E1003",
            f"`{setting.path}` does not fit this model",
            setting.span,
            report.describe(),
            hint="a pattern that takes in less"
            if setting.only
            else f'start_from = ("{setting.path}", only = "...") says which are wanted',
        )
    for name in report.loaded:
        mine[name][...] = arrays[name]
    return report
