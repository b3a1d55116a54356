"""Reads a table that names pictures in its column `path`, or in the one that the option `path` names.

The table is a csv in any dialect, or a file of another reader of tables.

The options of `images` that are not about pictures are those of the table's reader, which the caller provides.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.structs import replace
from netc.runtime.data.readers.options import PICTURES
from netc.runtime.data.readers.request import Request, Use
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location, RowFault, is_missing
from netc.runtime.data.tables.table import Table

PATH, IMAGE = "path", "image"  # columns; the option `path` names another column of paths
ReadTable = Callable[[Request], Table]  # by the reader that the file's name asks for


def table_of_pictures(request: Request, read_table: ReadTable) -> tuple[Table, Array]:
    """The table with the columns that are needed, and the paths of its pictures as texts.

    The paths are in the column `path` of the table, whatever it is called in the file. A row without a path is noted in
    the request's `bad_rows`, and its path is empty; without `bad_rows` it is a fault E0803. Raises E0802 if there is no
    column of paths, E0801 if another one is called `image`.
    """
    path = path_column(request.options)

    def use(column: str) -> Use:
        return request.uses(column) | (Use.TEXT if column == path else Use(0))

    table = read_table(replace(request, uses=use, options=_options_of_tables(request.options)))
    if path not in table.columns and "path" not in request.options:
        hint = f'path = "COLUMN" names another column; it has {", ".join(map(shown_cell, table.names[:8]))}'
        fact = f"`{request.shown}` has no column `{PATH}`"
        fault("E0802", fact, request.span, "a table of pictures names each one's file", hint=hint)
    table.require(path, request.span, "a table of pictures names each one's file")
    if IMAGE in table.columns and path != IMAGE:
        fact = f"`{request.shown}` has a column `{IMAGE}`, and its pictures have this name too"
        fault("E0801", fact, request.span, hint="rename the column")
    rows = np.arange(len(table))
    paths = table.columns[path][rows]
    try:
        location(table, request).refuse(is_missing(paths), "E0803", "a value is missing")
    except RowFault as error:
        if request.bad_rows is None:
            raise
        request.bad_rows.note(error)
    columns = {name: column for name, column in table.columns.items() if name != IMAGE}
    columns.setdefault(PATH, paths)  # predictions say by this name which picture they are for
    table = replace(table, columns=columns, names=tuple(name for name in table.names if name != IMAGE))
    return table, np.array(["" if cell is None else str(cell) for cell in paths], object)


def path_column(options: Mapping[str, Any]) -> str:
    """The column that names the pictures of a table."""
    return str(options.get("path", PATH))


def location(table: Table, request: Request) -> Location:
    """The cells of the column of paths."""
    return Location(table.name, (path_column(request.options),), table.numbers(np.arange(len(table))), request.span)


def refuse_options_of_tables(request: Request) -> None:
    """Raises E0302 if a source that is not a table has an option that is about tables."""
    for name in [*_options_of_tables(request.options), *({"path"} & {*request.options})]:
        what = "a folder" if os.path.isdir(request.path) else "a picture"
        fact = f"`{name}` is about a table of pictures, and `{shown_cell(request.shown)}` is {what}"
        fault("E0302", fact, request.span)


def _options_of_tables(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not about pictures. (`shape` comes from pictures that were read before.)"""
    return {name: value for name, value in options.items() if name not in PICTURES and name != "shape"}
