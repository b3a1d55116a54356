"""`netc export RUN -o FILE`: a run as a file that can be used without netc."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say


def export(
    run: options.RunFolder,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="model.onnx, or model.py, which only needs NumPy.")
    ],
    outputs: options.Outputs = None,
    provided: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NAME",
            help="The file takes this value as an input instead of computing it. May be repeated.",
        ),
    ] = None,
    columns: Annotated[
        bool,
        typer.Option(
            "--columns",
            help="The ONNX file takes each column of the data as an input of texts or f64, where ONNX has "
            "words for its steps. The command names what is left to do.",
        ),
    ] = False,
    plugins: options.Plugins = None,
) -> None:
    """Write a run's model as ONNX or Python, and check that its predictions are those of the run (exit status 1 if they
    are not).

    Data steps that are arithmetic (standardize, minmax, scale, clip, log, impute) are part of the file. It takes raw
    numbers. With --columns, an ONNX file has labels, dates and buckets too, and an input for each column.

    Example: netc export runs/iris -o iris.onnx --columns
    """
    import netc
    from netc.dsl.diagnostics import fault
    from netc.runtime.export.check import checked
    from netc.runtime.export.exported import as_onnx, as_python, exported
    from netc.runtime.export.raw_columns import with_columns
    from netc.runtime.runs.checkpoint import path_span, write_whole

    if out.suffix not in (".onnx", ".py"):
        raise typer.BadParameter(f"`{out}` does not end in .onnx or .py", param_hint="--out")
    if columns and out.suffix != ".onnx":
        raise typer.BadParameter("it is for ONNX files", param_hint="--columns")
    opened = netc.open(run)
    options.known_values(opened.model, (*(outputs or ()), *(provided or ())), opened.model.inputs)
    try:
        selected = exported(opened, outputs, provided or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    left: dict[str, str] = {}
    if columns:
        selected, left = with_columns(opened, selected)
    content = as_onnx(selected) if out.suffix == ".onnx" else as_python(opened, selected).encode()
    write_whole(out, content)
    outcome = checked(opened, selected, out)
    if outcome.is_wrong:
        hint = f"do not use it; please report this, with the file and the folder {run}"
        fault("E1203", f"the predictions of `{out}` are not the run's", path_span(out), outcome.text, hint=hint)
    say(f"{out}: {len(content):,} bytes, {outcome.text}")
    for name, note in left.items():
        say(f"note: the input `{name}` is not raw: {note}", is_error=True)
