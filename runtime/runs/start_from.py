"""`start_from`: the parameters and states of another run, by name, as the initial ones of a model.

Whether they fit needs no program: `check_start_from` is called before one is made, and by `netc check`.
"""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import Struct

from netc.compiler.model import Model, StartFrom
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.structs import replace
from netc.runtime.data.source_record import SourceRecord
from netc.runtime.data.stored import Array
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import BEST, CHECKPOINT, read_checkpoint
from netc.runtime.runs.data_changes import changes_since_run


class StartReport(Struct, frozen=True):
    """The outcome for each name: loaded, new in this model, unused in the other run, or of another shape there."""

    path: str
    loaded: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    of_another_shape: tuple[str, ...]
    data_changes: tuple[str, ...] = ()  # of files that both runs were trained on

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
        return "\n".join([f"from {self.path}: {', '.join(parts)}", *self.data_changes])


def check_start_from(model: Model) -> None:
    """Raises E1003 and E1001 as `start_from`, if the model has this setting."""
    if model.train.start_from is not None:
        _matched(model, model.train.start_from)


def start_from(model: Model, setting: StartFrom, program: Program, sources: Iterable[SourceRecord] = ()) -> StartReport:
    """Loads all parameters and states, or those that match `only`. `sources` is what the new run's data is now.

    Raises E1003 if one of them is missing on one side, or has another shape.
    """
    report, arrays = _matched(model, setting)
    for name in report.loaded:
        program.persistent[name][...] = arrays[name]
    folder = model.source.folder
    return replace(report, data_changes=changes_since_run(folder / setting.path, setting.path, folder, sources))


def _matched(model: Model, setting: StartFrom) -> tuple[StartReport, dict[str, Array]]:
    """The outcome for each name, and the arrays of the other run."""
    folder = model.source.folder / setting.path
    if not os.path.isdir(folder):
        fault("E1003", f"there is no run `{setting.path}`", setting.span, "paths start from the `.net` file's folder")
    best = folder / BEST
    arrays, _, owned = read_checkpoint(best if os.path.exists(best) else folder / CHECKPOINT)
    mine = {name: info.type.shape(1) for name, info in {**model.trainables, **model.states}.items()}

    for pattern in setting.only:
        if not any(fnmatchcase(name, pattern) for name in (*mine, *owned)):
            hint = nearest(pattern, list(mine)) or f"there are {', '.join(list(mine)[:6])}"
            fault("E1003", f'no parameter is called "{pattern}"', setting.span, hint=hint)

    def is_asked_for(name: str) -> bool:
        return not setting.only or any(fnmatchcase(name, pattern) for pattern in setting.only)

    fits = [name for name in mine if name in owned and arrays[name].shape == mine[name]]
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
    return report, arrays
