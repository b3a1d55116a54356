"""`netc profile M.net`: the time of each kernel of a training step, by source line, against what this machine can do."""

import typer

from netc.commands import options
from netc.commands.terminal import table

_MADE_UP = 4096  # samples, where the file has no data


def profile(file: options.ModelFile, settings: options.Settings = None, threads: options.Threads = None) -> None:
    """Run training steps and print the time, FLOP/s, bytes/s and share of the peak of each kernel, by source line.

    Example: netc profile examples/mnist.net --threads 1
    """
    import netc
    from netc.runtime.data.dataset import load
    from netc.runtime.data.madeup import made_up
    from netc.runtime.data.spec import parse_data
    from netc.runtime.profile import profile as measure
    from netc.runtime.program import Fields

    model, _ = options.load(file, settings)
    if model.data is not None:
        fields: Fields = load(model, parse_data(model)).parts["train"]
    else:
        fields = made_up(model, max(_MADE_UP, model.train.batch))
    found = measure(netc.compile(model, threads=threads), fields)

    def share(rate: float) -> str:
        return f"{rate / found.peak:.0%}"

    rows = [("line", "kernel", "gives", "us", "of step", "GFLOP/s", "of peak", "GB/s")]
    for row in sorted(found.rows, key=lambda row: min(value.span.line for value in row.task.values)):
        lines = sorted({value.span.line for value in row.task.values})
        names = list(dict.fromkeys(value.operation for value in row.task.values))
        rate = row.flops / row.seconds if row.seconds else 0.0
        rows.append(
            (
                ",".join(map(str, lines)),
                " ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else ""),
                str(row.task.values[-1].type),
                f"{row.seconds * 1e6:.1f}",
                f"{row.seconds / found.seconds:.0%}",
                f"{rate / 1e9:.1f}",
                share(rate),
                f"{row.nbytes / row.seconds / 1e9 if row.seconds else 0.0:.1f}",
            )
        )
    rows.append(
        (
            "",
            "barriers and waiting",
            "",
            f"{found.waiting * 1e6:.1f}",
            f"{found.waiting / found.seconds:.0%}",
            "",
            "",
            "",
        )
    )
    work = sum(row.flops for row in found.rows)
    rate = work / found.seconds
    rows.append(("", "a step", "", f"{found.seconds * 1e6:.1f}", "100%", f"{rate / 1e9:.1f}", share(rate), ""))
    table(rows, right=(3, 4, 5, 6, 7))
    typer.echo(
        f"batch {model.train.batch}, {found.threads} thread{'s' * (found.threads > 1)}; the peak is {found.peak / 1e9:.0f} GFLOP/s in {model.train.precision}, "
        "measured now; bytes are those of the buffers, wherever they lie"
    )
