"""`netc export RUN -o FILE`: a run for those who do not have netc."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options


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
) -> None:
    """Write a run's model as ONNX or as Python, and check that it answers as the run does.

    Steps of the data that are arithmetic (standardize, minmax, scale, clip, log) are part of the file: it takes raw numbers.

    Example: netc export runs/iris -o iris.onnx
    """
    import netc
    from netc.runtime.checkpoint import write_whole
    from netc.runtime.export import as_onnx, as_python, difference

    kinds = {".onnx": as_onnx, ".py": lambda *arguments: as_python(*arguments).encode()}
    if out.suffix not in kinds:
        raise typer.BadParameter(f"`{out}` ends in none of {', '.join(kinds)}", param_hint="--out")
    opened = netc.open(run)
    for name in (*(outputs or ()), *(given or ())):
        if name not in opened.model.values and name not in opened.model.inputs:
            raise typer.BadParameter(f"the model has no value `{name}`: it has {', '.join(opened.model.values)}")
    content = kinds[out.suffix](opened, outputs, given or ())
    write_whole(out, content)
    checked = difference(opened, out, outputs, given or ())
    typer.echo(f"{out}: {len(content):,} bytes, {checked}")
