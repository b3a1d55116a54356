"""Reads `arrow("file.arrow")`: Arrow's IPC format, which is also Feather's second version. Large files stay on disk."""

import io
from functools import partial

from netc.dsl.storage.files import opened
from netc.runtime.data.readers.content import content
from netc.runtime.data.readers.panics import quiet_panics
from netc.runtime.data.readers.parquet import read_scan, table_of_frame
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.table import Table

_FILE = b"ARROW1"  # a file begins with it, a stream of record batches does not


def read_arrow(request: Request) -> Table:
    """The table of a file or a stream of record batches. Raises E0801 if polars cannot read it."""
    import polars

    with opened(request.path) as file:
        is_file = file.read(len(_FILE)) == _FILE
    if is_file:
        return read_scan(request, partial(polars.scan_ipc, request.path, glob=False))
    raw = content(request.path, request.shown, request.span)
    with decoding(request.shown, request.span), quiet_panics():
        frame = polars.read_ipc_stream(io.BytesIO(raw))
        return table_of_frame(request, frame.select(request.needed(frame.columns)), frame.columns)
