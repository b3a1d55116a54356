"""`netc profile M.net`: the time of a training step by line or by kernel, compared with the machine's peak.

Prints a table, and writes a flame graph.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.compiler.model import Model
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
        fields = synthetic_data(model, max(_SAMPLES, model.train.batch))
    measured = measure(netc.compile(model, threads=threads), fields)
    rows = _by_line(measured, model) if lines else _by_kernel(measured)
    rows.append(("", "barriers and waiting", "", *_spent(measured.waiting, measured), "", "", ""))
    work = sum(row.flops for row in measured.rows)
    rows.append(("", "a step", "", *_spent(measured.seconds, measured), *_rate(work, measured.seconds, measured), ""))
    table(rows, right=(3, 4, 5, 6, 7))
    threads_used = f"{measured.threads} thread{'s' * (measured.threads > 1)}"
    peak = f"the peak is {measured.peak / 1e9:.0f} GFLOP/s in {model.train.precision}, measured now"
    say(f"batch {model.train.batch}, {threads_used}; {peak}; bytes are those of the buffers, in a cache or not")
    if out is not None:
        write_whole(out, flame_svg(_flames(measured, model)).encode())
        say(f"-> {out}")


_HEADS = ("us", "of step", "GFLOP/s", "of peak", "GB/s")


def _spent(seconds: float, profile: "Profile") -> tuple[str, str]:
    return f"{seconds * 1e6:.1f}", f"{seconds / profile.seconds:.0%}"


def _rate(flops: int, seconds: float, profile: "Profile") -> tuple[str, str]:
    rate = flops / seconds if seconds else 0.0
    return f"{rate / 1e9:.1f}", f"{rate / profile.peak:.0%}"


def _bandwidth(nbytes: int, seconds: float) -> str:
    return f"{nbytes / seconds / 1e9 if seconds else 0.0:.1f}"


def _name(row: "Row") -> str:
    names = list(dict.fromkeys(value.operation for value in row.task.values))
    return " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_kernel(profile: "Profile") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "kernel", "gives", *_HEADS)]
    for row in sorted(profile.rows, key=lambda row: min(value.span.line for value in row.task.values)):
        lines = sorted({value.span.line for value in row.task.values})
        cells = (
            *_spent(row.seconds, profile),
            *_rate(row.flops, row.seconds, profile),
            _bandwidth(row.nbytes, row.seconds),
        )
        rows.append((",".join(map(str, lines)), _name(row), str(row.task.values[-1].type), *cells))
    return rows


def _by_line(profile: "Profile", model: "Model") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("line", "text", "kernels", *_HEADS)]
    for line in profile.lines:
        nbytes = sum(row.nbytes for row in line.rows)
        cells = (
            *_spent(line.seconds, profile),
            *_rate(line.flops, line.seconds, profile),
            _bandwidth(nbytes, line.seconds),
        )
        rows.append((str(line.number), _text(model, line.number), str(len(line.rows)), *cells))
    return rows


def _text(model: "Model", number: int, most: int = 60) -> str:
    """A line of the file without its comment, cut to `most` characters."""
    text = model.source.line(number).partition("#")[0].strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def _flames(profile: "Profile", model: "Model") -> "Flame":
    """The step as nested flames: its phases, their lines, and the kernels of each line."""
    from netc.runtime.insight.drawing.flame import Flame
    from netc.runtime.insight.profile import Row, line_of

    phases: dict[str, dict[int, list[Row]]] = {"forward": {}, "backward": {}, "update": {}}
    for row in profile.rows:
        phases[profile.phase_of(row.task)].setdefault(line_of(row.task), []).append(row)

    def label(seconds: float, flops: int = 0) -> str:
        spent = f"{seconds * 1e6:.2f} us, {seconds / profile.seconds:.1%} of the step"
        return spent + (f", {' GFLOP/s, '.join(_rate(flops, seconds, profile))} of the peak" if flops else "")

    inside = []
    for phase, lines in phases.items():
        flames = []
        for number, rows in sorted(lines.items()):
            kernels = [Flame(_name(row), row.seconds, label(row.seconds, row.flops), phase) for row in rows]
            seconds, flops = sum(row.seconds for row in rows), sum(row.flops for row in rows)
            name = f"{number}: {_text(model, number)}"
            flames.append(Flame(name, seconds, label(seconds, flops), phase, tuple(kernels)))
        seconds = sum(flame.seconds for flame in flames)
        inside.append(Flame(phase, seconds, label(seconds), phase, tuple(flames)))
    inside.append(Flame("waiting", profile.waiting, label(profile.waiting), "waiting"))
    return Flame(
        f"a step of {model.train.batch} samples", profile.seconds, label(profile.seconds), "step", tuple(inside)
    )
