"""`netc profile M.net`: the time of a training step by line of the file or by kernel, against what this machine can do; as a table or as a flame graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.insight.drawing.flame import Flame
    from netc.runtime.insight.profile import Profile, Row

_MADE_UP = 4096  # samples, where the file has no data


def profile(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="A row for each line of the file, not for each kernel.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.svg", help="A flame graph: phases, lines, kernels.")
    ] = None,
    threads: options.Threads = None,
) -> None:
    """Run training steps and print the time, FLOP/s, bytes/s and share of the peak of each kernel, by source line.

    Example: netc profile examples/mnist.net --lines -o mnist.svg
    """
    import netc
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data
    from netc.runtime.data.synthetic import synthetic_data
    from netc.runtime.execution.fields import Fields
    from netc.runtime.insight.drawing.flame import flame_svg
    from netc.runtime.insight.profile import profile as measure
    from netc.runtime.runs.checkpoint import write_whole

    if out is not None and out.suffix != ".svg":
        raise typer.BadParameter(f"`{out}` does not end in .svg", param_hint="--out")
    model, _ = options.load(file, settings)
    if model.data is not None:
        fields: Fields = load(model, parse_data(model)).parts["train"]
    else:
        fields = synthetic_data(model, max(_MADE_UP, model.train.batch))
    found = measure(netc.compile(model, threads=threads), fields)
    rows = _by_line(found, model) if lines else _by_kernel(found)
    rows.append(("", "barriers and waiting", "", *_spent(found.waiting, found), "", "", ""))
    work = sum(row.flops for row in found.rows)
    rows.append(("", "a step", "", *_spent(found.seconds, found), *_rate(work, found.seconds, found), ""))
    table(rows, right=(3, 4, 5, 6, 7))
    say(
        f"batch {model.train.batch}, {found.threads} thread{'s' * (found.threads > 1)}; the peak is {found.peak / 1e9:.0f} GFLOP/s in {model.train.precision}, "
        "measured now; bytes are those of the buffers, wherever they lie"
    )
    if out is not None:
        write_whole(out, flame_svg(_flames(found, model)).encode())
        say(f"-> {out}")


_HEADS = ("us", "of step", "GFLOP/s", "of peak", "GB/s")


def _spent(seconds: float, found: "Profile") -> tuple[str, str]:
    return f"{seconds * 1e6:.1f}", f"{seconds / found.seconds:.0%}"


def _rate(flops: int, seconds: float, found: "Profile") -> tuple[str, str]:
    rate = flops / seconds if seconds else 0.0
    return f"{rate / 1e9:.1f}", f"{rate / found.peak:.0%}"


def _bandwidth(nbytes: int, seconds: float) -> str:
    return f"{nbytes / seconds / 1e9 if seconds else 0.0:.1f}"


def _name(row: "Row") -> str:
    names = list(dict.fromkeys(value.operation for value in row.task.values))
    return " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_kernel(found: "Profile") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "kernel", "gives", *_HEADS)]
    for row in sorted(found.rows, key=lambda row: min(value.span.line for value in row.task.values)):
        lines = sorted({value.span.line for value in row.task.values})
        told = (*_spent(row.seconds, found), *_rate(row.flops, row.seconds, found), _bandwidth(row.nbytes, row.seconds))
        rows.append((",".join(map(str, lines)), _name(row), str(row.task.values[-1].type), *told))
    return rows


def _by_line(found: "Profile", model: "Model") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "text", "kernels", *_HEADS)]
    for line in found.lines:
        nbytes = sum(row.nbytes for row in line.rows)
        told = (*_spent(line.seconds, found), *_rate(line.flops, line.seconds, found), _bandwidth(nbytes, line.seconds))
        rows.append((str(line.number), _text(model, line.number), str(len(line.rows)), *told))
    return rows


def _text(model: "Model", number: int, most: int = 60) -> str:
    """A line of the file, as much of it as a table has room for."""
    text = model.source.line(number).partition("#")[0].strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def _flames(found: "Profile", model: "Model") -> "Flame":
    """The step, its phases, their lines, and the kernels of each."""
    from netc.runtime.insight.drawing.flame import Flame
    from netc.runtime.insight.profile import Row, line_of

    phases: dict[str, dict[int, list[Row]]] = {"forward": {}, "backward": {}, "update": {}}
    for row in found.rows:
        phases[found.phase_of(row.task)].setdefault(line_of(row.task), []).append(row)

    def told(seconds: float, flops: int = 0) -> str:
        spent = f"{seconds * 1e6:.2f} us, {seconds / found.seconds:.1%} of the step"
        return spent + (f", {' GFLOP/s, '.join(_rate(flops, seconds, found))} of the peak" if flops else "")

    inside = []
    for phase, lines in phases.items():
        flames = []
        for number, rows in sorted(lines.items()):
            kernels = [Flame(_name(one), one.seconds, told(one.seconds, one.flops), phase) for one in rows]
            seconds, flops = sum(one.seconds for one in rows), sum(one.flops for one in rows)
            name = f"{number}: {_text(model, number)}"
            flames.append(Flame(name, seconds, told(seconds, flops), phase, tuple(kernels)))
        seconds = sum(one.seconds for one in flames)
        inside.append(Flame(phase, seconds, told(seconds), phase, tuple(flames)))
    inside.append(Flame("waiting", found.waiting, told(found.waiting), "waiting"))
    return Flame(f"a step of {model.train.batch} samples", found.seconds, told(found.seconds), "step", tuple(inside))
