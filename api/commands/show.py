"""`netc show M.net`: draws a model."""

from pathlib import Path
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say

_KINDS = ("svg", "png", "html")


def show(
    file: options.ModelFile,
    settings: options.Settings = None,
    plugins: options.Plugins = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="A .svg, .png or .html file (default: NAME.svg in the current folder)."
        ),
    ] = None,
    unfold: Annotated[int, typer.Option(min=0, metavar="N", help="Unfold blocks to a depth of N.")] = 0,
) -> None:
    """Draw the graph of a model, with inputs at the top, outputs and losses at the bottom, and blocks folded. A page
    (.html) unfolds blocks, and shows the shape, the line and the parameters of each box.

    Example: netc show examples/lenet.net -o lenet.html
    """
    from netc.compiler.analysis.outline import outline_of
    from netc.runtime.insight.drawing.figure import picture
    from netc.runtime.insight.drawing.page import page
    from netc.runtime.runs.checkpoint import write_whole

    path = out or Path(f"{file.stem}.svg")
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _KINDS:
        raise typer.BadParameter(f"`{path}` is none of {', '.join(f'.{suffix}' for suffix in _KINDS)}")
    model, _ = options.load(file, settings)
    outline = outline_of(model)
    write_whole(
        path, page(outline, model, unfold).encode() if kind == "html" else picture(outline, model, kind, unfold)
    )
    boxes = sum(1 for box in outline.all() if not box.inside)
    blocks = sum(1 for box in outline.all() if box.inside)
    say(f"{boxes:,} values, {blocks:,} blocks -> {path}")
