"""`netc new NAME`: writes a file to start from, adapted to a table if one is given."""

import os
from pathlib import Path
from typing import Annotated

import typer

from netc.commands.terminal import say

_TEMPLATE = """# {name}.net: the data, the model and its training. `netc new {name} --data table.csv` adapts it.
data {{
  source = csv("table.csv")
  x = columns("a", "b", "c") -> standardize
  y = column("y") -> standardize
  split = (train = 0.7, valid = 0.1, test = 0.2)
}}

model {{
  input x: float[3]
  target y: float

  output estimate = x -> dense(32) -> relu -> dense(1) -> squeeze

  loss mse(estimate, y)
  metric r2(estimate, y)
}}

train {{
  optimizer = adam(lr = 0.003)
  batch = 16
  epochs = 50
}}
"""


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the file, NAME.net.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A table (csv, parquet, json, xlsx, ...) or several (part-*.csv), a text (.txt), a folder of pictures "
            "with a folder for each class, one of idx files, or a source as a file has it: "
            'sql("sqlite:///shop.db", "select ...").',
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column to predict (default: the last column).")
    ] = None,
) -> None:
    """Write a file that can be trained as it is. What the columns contain is guessed and explained in comments: numbers
    and how they are written, dates, categories, texts, marks of missing values, ids, which are left out. A number that
    follows from the one before becomes a series, one for each site or sensor. The file is tried before it is written:
    two training steps are run. No file is overwritten.

    Example: netc new wine --data wine.csv --target cultivar
    """
    from netc.dsl.diagnostics import fault
    from netc.dsl.quoting import cell, net_comment
    from netc.runtime.runs.checkpoint import path_span, write_whole
    from netc.runtime.starting.starting_file import Start, starting_file

    path = Path(name if name.endswith(".net") else f"{name}.net")
    if os.path.lexists(path):
        fault("E1001", f"`{path}` already exists", path_span(path), hint="use another name")
    if not os.path.isdir(path.parent):
        fault("E1001", f"there is no folder `{path.parent}`", path_span(path.parent))
    if target is not None and data is None:
        raise typer.BadParameter("it names a column of --data DATA, which is missing", param_hint="--target")
    if data is not None:
        start = starting_file(path.stem, data, target, path.parent, path_span(Path(data)))
    else:
        start = Start(_TEMPLATE.format(name=net_comment(path.stem)))
    write_whole(path, start.text.encode())
    for column, why in start.left_out:
        say(f"the column `{cell(column)}` is left out: {why}")
    say(f"{path} written" + (f"; netc train {path}" if data is not None else "; set its source"))
