"""`start_from`: the parameters and states of another run, by name, as the first ones of this model."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.compiler.model import Model, StartFrom
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import read_checkpoint

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of each name: `loaded`, `new` here, `unused` of the other run, or there with another shape."""

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


def start_from(model: Model, wanted: StartFrom, program: Program) -> Loaded:
    """Load what matches `only` (or all). Faults E1003 where a name that is not excused is missing, left over or of another shape."""
    folder = model.source.folder / wanted.path
    if not os.path.isdir(folder):
        fault("E1003", f"there is no run `{wanted.path}`", wanted.span, "paths start from the `.net` file's folder")
    best = folder / BEST
    found, _, owned = read_checkpoint(best if os.path.exists(best) else folder / CHECKPOINT)
    mine = {name: program.persistent[name] for name in (*model.trainables, *model.states)}

    for pattern in wanted.only:
        if not any(fnmatchcase(name, pattern) for name in (*mine, *owned)):
            hint = nearest(pattern, list(mine)) or f"there are {', '.join(list(mine)[:6])}"
            fault("E1003", f'no parameter is called "{pattern}"', wanted.span, hint=hint)

    def is_wanted(name: str) -> bool:
        return not wanted.only or any(fnmatchcase(name, pattern) for pattern in wanted.only)

    fits = [name for name in mine if name in owned and found[name].shape == mine[name].shape]
    other = tuple(name for name in mine if name in owned and name not in fits)
    report = Loaded(
        wanted.path,
        tuple(name for name in fits if is_wanted(name)),
        tuple(name for name in mine if name not in owned),
        tuple(name for name in owned if name not in mine),
        other,
    )
    refused = [name for name in (*report.new, *report.unused, *other) if is_wanted(name)]
    if refused or not report.loaded:
        fault(
            "E1003",
            f"`{wanted.path}` does not fit this model",
            wanted.span,
            report.describe(),
            hint=f'start_from = ("{wanted.path}", only = "...") says which are wanted'
            if not wanted.only
            else "a pattern that takes in less",
        )
    for name in report.loaded:
        mine[name][...] = found[name]
    return report
