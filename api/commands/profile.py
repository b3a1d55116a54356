"""`netc profile M.net`: the time of a training step by line or by kernel, compared with the bounds of the machine.

Prints a table, and writes a flame graph.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from netc.commands import options
from netc.commands.terminal import say, table
from netc.dsl.plural import counted

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.compiler.targets.bounds import Bound, Bounds
    from netc.runtime.insight.drawing.flame import Flame
    from netc.runtime.insight.profile import Profile, Row

_SAMPLES = 4096  # synthetic samples, if the file has no data


def profile(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print a row for each line of the file instead of each kernel.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE.svg", help="Write a flame graph of phases, lines and kernels."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the bounds of the machine again.")] = False,
    threads: options.Threads = None,
) -> None:
    """Run training steps and print for each kernel its time, what bounds it (arithmetic, a cache, memory), its share of
    that bound, and the time that it loses. The most lost time comes first.

    Example: netc profile examples/mnist.net --lines -o mnist.svg
    """
    import netc
    from netc.runtime.data.block.spec import parse_data
    from netc.runtime.data.dataset import load
    from netc.runtime.data.synthetic import synthetic_data
    from netc.runtime.execution.fields import Fields
    from netc.runtime.insight.drawing.flame import flame_svg
    from netc.runtime.insight.profile import profile as profile_of
    from netc.runtime.runs.checkpoint import write_whole

    if out is not None and out.suffix != ".svg":
        raise typer.BadParameter(f"`{out}` does not end in .svg", param_hint="--out")
    model, _ = options.load(file, settings)
    if model.data is not None:
        fields: Fields = load(model, parse_data(model)).parts["train"]
    else:
        fields = synthetic_data(model, max(_SAMPLES, model.train.batch))
    measured = profile_of(netc.compile(model, threads=threads), fields, again=measure)
    rows = _by_line(measured, model) if lines else _by_kernel(measured)
    rows.append(
        ("", "barriers and waiting", "", *_spent(measured.waiting, measured), "", "", *_lost(measured.waiting), "", "")
    )
    rows.append(("", "a step", "", *_cells(measured, measured), *_speed(measured)))
    table(rows, right=(3, 4, 6, 7, 8, 9))
    say(f"batch {model.train.batch}, {counted(measured.threads, 'thread')}")
    if measured.threads > 1:
        _say_who_waits(measured)
    say(f"bounds of this machine: {_described(measured.bounds)}")
    if out is not None:
        write_whole(out, flame_svg(_flames(measured, model)).encode())
        say(f"-> {out}")


def _say_who_waits(profile: "Profile") -> None:
    """Prints the phases in which threads wait longest for the slowest one, and what the plan allows more threads."""
    uneven = sorted(profile.shared, key=lambda phase: phase.waiting, reverse=True)[:_MOST_PHASES]
    rows = [("phase", "line", "pieces", "us of each thread", "waits us")]
    for phase in uneven:
        lines = sorted({value.span.line for task in phase.tasks for value in task.values})
        listed = ",".join([*map(str, lines[:_MOST_LINES]), *["…"] * (len(lines) > _MOST_LINES)])
        pieces = " ".join(map(str, sorted(set(phase.pieces))))
        spent = " ".join(f"{seconds * 1e6:.1f}" for seconds in phase.seconds)
        rows.append((str(phase.number), listed, pieces, spent, f"{phase.waiting * 1e6:.1f}"))
    waits = sum(phase.waiting for phase in profile.shared)
    say(f"a thread waits {waits * 1e6:.1f} us of a step for slower ones, in {len(profile.shared)} phases; most in")
    table(rows, right=(0, 4))
    speeds = ", ".join(f"{speed:.1f} times with {count}" for count, speed in sorted(profile.expected.items()))
    say(f"by the pieces of the plan, threads can make it faster {speeds}")


_MOST_PHASES, _MOST_LINES = 5, 4  # that are listed
_HEADS = ("us", "of step", "bound", "of bound", "lost us", "GFLOP/s", "GB/s")


class _Measured(Protocol):
    """A kernel call, a line or a step: its time, its work and its bound."""

    @property
    def seconds(self) -> float: ...
    @property
    def flops(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def bound(self) -> "Bound": ...


def _spent(seconds: float, profile: "Profile") -> tuple[str, str]:
    return f"{seconds * 1e6:.1f}", f"{seconds / profile.seconds:.0%}"


def _lost(seconds: float) -> tuple[str]:
    return (f"{max(seconds, 0.0) * 1e6:.1f}",)


def _cells(measured: _Measured, profile: "Profile") -> tuple[str, ...]:
    """The cells from the time to the lost time."""
    bound = measured.bound
    share = f"{bound.seconds / measured.seconds:.0%}" if measured.seconds else ""
    return (*_spent(measured.seconds, profile), bound.name, share, *_lost(measured.seconds - bound.seconds))


def _speed(measured: _Measured) -> tuple[str, str]:
    """The cells of FLOP/s and bytes/s."""
    seconds = measured.seconds or math.inf
    return f"{measured.flops / seconds / 1e9:.1f}", f"{measured.nbytes / seconds / 1e9:.1f}"


def _described(bounds: "Bounds") -> str:
    """The rates of a machine in words."""
    from netc.compiler.targets.bounds import LEVELS

    flops = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in bounds.flops.items())
    divided = ", ".join(
        f"{bounds.divisions[dtype] / 1e9:.1f} divisions or {bounds.roots[dtype] / 1e9:.1f} roots a ns in {dtype}"
        for dtype in bounds.divisions
    )
    rates = ", ".join(f"{level} {max(bounds.rates[level].values()) / 1e9:.0f}" for level in LEVELS)
    return f"{flops}; {divided}; GB/s: {rates}"


def _name(row: "Row") -> str:
    names = list(dict.fromkeys(value.operation for value in row.task.values))
    return " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_kernel(profile: "Profile") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "kernel", "gives", *_HEADS)]
    for row in sorted(profile.rows, key=_loss, reverse=True):
        lines = sorted({value.span.line for value in row.task.values})
        where = ",".join(map(str, lines))
        rows.append((where, _name(row), str(row.task.values[-1].type), *_cells(row, profile), *_speed(row)))
    return rows


def _by_line(profile: "Profile", model: "Model") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "text", "kernels", *_HEADS)]
    for line in sorted(profile.lines, key=_loss, reverse=True):
        text = _text(model, line.number)
        rows.append((str(line.number), text, str(len(line.rows)), *_cells(line, profile), *_speed(line)))
    return rows


def _loss(measured: _Measured) -> float:
    """The seconds above the bound."""
    return measured.seconds - measured.bound.seconds


def _text(model: "Model", number: int, most: int = 60) -> str:
    """A line of the file without its comment, cut to `most` characters."""
    text = model.source.line(number).partition("#")[0].strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def _flames(profile: "Profile", model: "Model") -> "Flame":
    """The step as nested flames: its phases, their lines, and the kernels of each line."""
    from netc.runtime.insight.drawing.flame import Flame
    from netc.runtime.insight.profile import Line, Row, line_of

    phases: dict[str, dict[int, list[Row]]] = {"forward": {}, "backward": {}, "update": {}}
    for row in profile.rows:
        phases[profile.phase_of(row.task)].setdefault(line_of(row.task), []).append(row)

    def label(seconds: float, bound: "Bound | None" = None) -> str:
        spent = f"{seconds * 1e6:.2f} us, {seconds / profile.seconds:.1%} of the step"
        if bound is None or not seconds:
            return spent
        return f"{spent}, {bound.seconds / seconds:.0%} of what is possible, bound by {bound.name}"

    inside = []
    for phase, lines in phases.items():
        flames = []
        for number, rows in sorted(lines.items()):
            kernels = [Flame(_name(row), row.seconds, label(row.seconds, row.bound), phase) for row in rows]
            line = Line(number, tuple(rows))
            name = f"{number}: {_text(model, number)}"
            flames.append(Flame(name, line.seconds, label(line.seconds, line.bound), phase, tuple(kernels)))
        seconds = sum(flame.seconds for flame in flames)
        inside.append(Flame(phase, seconds, label(seconds), phase, tuple(flames)))
    inside.append(Flame("waiting", profile.waiting, label(profile.waiting), "waiting"))
    return Flame(
        f"a step of {counted(model.train.batch, 'sample')}",
        profile.seconds,
        label(profile.seconds),
        "step",
        tuple(inside),
    )
