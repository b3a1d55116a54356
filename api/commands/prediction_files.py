"""Writes predictions as csv, JSON, JSON lines or parquet: the suffix of the file says which.

Takes columns of equal length by name. A cell is a text, a number, a list (a sequence), or None where a row has no
prediction.
"""

import csv
import io
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netc.commands.terminal import say
from netc.dsl.plural import counted
from netc.dsl.quoting import json_text

Columns = Mapping[str, list[Any]]


def refuse_suffix(out: Path | None) -> None:
    """Raises BadParameter (exit status 2) for a file whose suffix names no format. A device or a pipe takes
    csv; a folder cannot be written."""
    if out is None or out.suffix in _FORMATS or (os.path.exists(out) and not os.path.isfile(out)):
        return
    import typer

    hint = f"such as -o {out.stem or 'predictions'}.csv"
    raise typer.BadParameter(f"predictions are written as {', '.join(_FORMATS)}, {hint}", param_hint=f"-o {out}")


def write(columns: Columns, out: Path | None) -> None:
    """Writes columns to a file, or as csv to standard output.

    On a terminal, control characters are escaped and long cells are cut.
    """
    from netc.runtime.runs.checkpoint import write_whole

    if out is None:
        sys.stdout.write(_csv(columns, is_shown=sys.stdout.isatty()))
        return
    write_whole(out, _FORMATS.get(out.suffix, _csv_bytes)(columns))
    say(f"{counted(len(next(iter(columns.values()))), 'row')} -> {out}")


def _csv(columns: Columns, is_shown: bool = False) -> str:
    from netc.dsl.quoting import cell

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *zip(*columns.values(), strict=True)):
        texts = map(_text, row)
        writer.writerow(map(cell, texts) if is_shown else texts)
    return text.getvalue()


def _text(value: Any) -> Any:
    """A cell of a csv file."""
    if isinstance(value, list):
        return json_text(value, is_ascii=False)
    return str(value).lower() if isinstance(value, bool) else value


def _csv_bytes(columns: Columns) -> bytes:
    return _csv(columns).encode(errors="backslashreplace")


def _json_lines(columns: Columns) -> list[str]:
    """A JSON object for each row."""
    names = [*columns]
    rows = zip(*columns.values(), strict=True)
    return [json_text(dict(zip(names, map(_plain, row), strict=True)), is_ascii=False) for row in rows]


def _plain(value: Any) -> Any:
    """A cell as JSON takes it: numbers with the digits of their type, and null for anything that is not a number."""
    if isinstance(value, np.float32):
        value = float(str(value))
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(columns: Columns) -> bytes:
    return f"[{f',{chr(10)} '.join(_json_lines(columns))}]\n".encode(errors="backslashreplace")


def _jsonl(columns: Columns) -> bytes:
    return "".join(f"{line}\n" for line in _json_lines(columns)).encode(errors="backslashreplace")


def _parquet(columns: Columns) -> bytes:
    import polars

    def series(name: str, cells: list[Any]) -> polars.Series:
        present = next((cell for cell in cells if cell is not None), None)
        return polars.Series(name, cells, polars.Float32 if isinstance(present, np.float32) else None, strict=False)

    buffer = io.BytesIO()
    polars.DataFrame([series(name, cells) for name, cells in columns.items()]).write_parquet(buffer)
    return buffer.getvalue()


_FORMATS: Mapping[str, Callable[[Columns], bytes]] = {
    ".csv": _csv_bytes,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
