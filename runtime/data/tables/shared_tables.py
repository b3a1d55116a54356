"""Tables of any reader that processes of one host share (sharing.py): one reads a file, and the others map it."""

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.packed import NotPacked, open_table, write_table
from netc.runtime.data.tables.sharing import WORTH_A_COPY, current
from netc.runtime.data.tables.table import Table

_SHARES_BY_ITSELF = ("csv", "parquet", "arrow", "images")  # readers whose columns or pictures are in the cache


def read_shared(reader: str, request: Request, read: Callable[[Request], Table]) -> Table:
    """The table of a source: from the folder that processes share, which it is written to by the first of them.

    A process by itself, new data and small files are read as they are.
    """
    processes = current()
    if processes is None or reader in _SHARES_BY_ITSELF or request.bad_rows is not None or _is_small(request):
        return read(request)
    key = processes.name(reader, str(request.path), sorted(request.options.items(), key=repr))
    with processes.lock(key):
        for number in count():  # a source may be read more than once, with other uses of its columns
            folder = key.with_suffix(f".{number}")
            opened = open_table(folder)
            if opened is None:
                break
            table, uses = opened
            if all(request.uses(name).value == use for name, use in uses.items()):
                return table
        table = read(request)
        names = table.names or tuple(table.columns)
        with suppress(NotPacked, OSError):
            write_table(folder, table, {name: request.uses(name).value for name in names})
            opened = open_table(folder)
            return opened[0] if opened is not None else table
        return table


def _is_small(request: Request) -> bool:
    """Whether a source is a file that each process may read by itself. (`idx` names several files by a beginning.)"""
    return os.path.isfile(request.path) and request.path.stat().st_size < WORTH_A_COPY
