"""`netc export RUN -o FILE`: a run for those who do not have netc."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say


def export(
    run: options.RunFolder,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="model.onnx, or model.py, which needs NumPy alone.")
    ],
    outputs: options.Outputs = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NAME",
            help="The file takes this value in place of what computes it; may be given again.",
        ),
    ] = None,
    plugins: options.Plugins = None,
) -> None:
    """Write a run's model as ONNX or as Python, and check that it answers as the run does (exit status 1 if it does not).

    Steps of the data that are arithmetic (standardize, minmax, scale, clip, log) are part of the file: it takes raw numbers.

    Example: netc export runs/iris -o iris.onnx
    """
    import netc
    from netc.dsl.diagnostics import fault
    from netc.runtime.export.check import checked
    from netc.runtime.export.exported import as_onnx, as_python, exported
    from netc.runtime.runs.checkpoint import place_of, write_whole

    if out.suffix not in (".onnx", ".py"):
        raise typer.BadParameter(f"`{out}` ends in none of .onnx, .py", param_hint="--out")
    opened = netc.open(run)
    options.known_values(opened.model, (*(outputs or ()), *(given or ())), opened.model.inputs)
    try:
        asked = exported(opened, outputs, given or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    content = as_onnx(asked) if out.suffix == ".onnx" else as_python(opened, asked).encode()
    write_whole(out, content)
    outcome = checked(opened, asked, out)
    if outcome.is_wrong:
        hint = f"do not use it; please report this, with the file and the folder {run}"
        fault("E1203", f"`{out}` does not say what the run says", place_of(out), outcome.text, hint=hint)
    say(f"{out}: {len(content):,} bytes, {outcome.text}")
