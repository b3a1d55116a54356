"""Reads `sql("sqlite:///shop.db", "select ...")`: the rows of a query, from a SQLite or DuckDB file.

A database is opened only for reading: a query cannot write, attach other files, load extensions or run for ever.
DuckDB needs the extra `duckdb`.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.storage.files import opened
from netc.runtime.available import require_at
from netc.runtime.data.readers.extras import require_package
from netc.runtime.data.readers.jsonl import Columns
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.readers.request import Request
from netc.runtime.data.tables.table import Table

SCHEMES = {"sqlite:///": "sqlite", "duckdb:///": "duckdb"}  # the rest of a URL is a path
_ROWS = 1 << 12  # rows at a time
_CELL = 160  # bytes of a cell while rows are collected
_LONGEST = 1 << 26  # bytes of a text
_HEAD = 100  # bytes of the head of a SQLite database
_STEPS, _MOST = 1_000_000, 5_000  # SQLite's steps between two calls, and calls until a query is given up
_FORBIDDEN = ("load_extension", "edit", "readfile", "writefile", "fts3_tokenizer")
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)


def read_sql(request: Request) -> Table:
    """The table that a query returns. Raises E0822 where the database refuses it."""
    read = _sqlite if request.options["engine"] == "sqlite" else _duckdb
    with decoding(request.shown, request.span):
        names, rows = read(request, request.options["query"])
        seen: set[str] = set()
        for name in names:
            if name in seen:
                hint = f"select ... as {name}_2"
                fault("E0822", f"the query returns two columns `{cell(name)}`", request.span, hint=hint)
            seen.add(name)
        columns = Columns(request)
        for row in rows:
            number = columns.count + 1
            columns.add({name: _plain(name, value, number, request) for name, value in zip(names, row, strict=True)})
            if columns.count % _ROWS == 0:
                require_at(_CELL * len(names) * _ROWS, f"the next rows of `{request.shown}`", request.span)
    return columns.table()


def _plain(name: str, value: Any, number: int, request: Request) -> Any:
    """A value of a database as a cell: numbers, texts, booleans, lists; dates as texts."""
    if value is None or isinstance(value, bool | int | float | str | list):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        fault("E0822", f"row {number}, column `{cell(name)}` of the query holds bytes", request.span)
    return str(value)


def _refuse(request: Request, message: str, hint: str | None = None) -> None:
    fault("E0822", f"`{request.shown}` refuses the query", request.span, cell(message), hint=hint)


def _sqlite(request: Request, query: str) -> tuple[list[str], Iterable[Sequence[Any]]]:
    calls = 0

    def give_up() -> bool:
        nonlocal calls
        calls += 1
        return calls > _MOST

    def authorise(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
        is_allowed = action in _ALLOWED and second not in _FORBIDDEN
        return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY

    def rows() -> Iterator[Sequence[Any]]:
        with closing(connection):
            try:
                while batch := cursor.fetchmany(_ROWS):
                    yield from batch
            except sqlite3.Error as error:
                _refuse(request, "it takes too long" if calls > _MOST else str(error))

    _refuse_cut(request)
    connection = sqlite3.connect(f"file:{quote(str(request.path))}?mode=ro", uri=True)
    try:
        for setting in ("trusted_schema = off", "query_only = on", "cell_size_check = on"):
            connection.execute(f"pragma {setting}")
        connection.execute("select count(*) from sqlite_master")  # fails here if the file is not a database
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.set_progress_handler(give_up, _STEPS)
        connection.set_authorizer(authorise)
        cursor = connection.execute(query)
    except (sqlite3.Error, sqlite3.Warning) as error:
        connection.close()
        is_denied = "not authorized" in str(error) or "prohibited" in str(error)
        message = "it takes too long" if calls > _MOST else str(error)
        _refuse(request, message, "a query only reads: select ... from ..." if is_denied else None)
    if cursor.description is None:
        connection.close()
        _refuse(request, "it returns no table", "select ... from ...")
    return [name for name, *_ in cursor.description], rows()


def _refuse_cut(request: Request) -> None:
    """Raises E0801 if a database does not end with a whole page: SQLite would read zeros instead of the rest."""
    with opened(request.path) as file:
        head = file.read(_HEAD)
        size = file.seek(0, os.SEEK_END)
    page = int.from_bytes(head[16:18], "big")
    page = 1 << 16 if page == 1 else page
    if len(head) == _HEAD and head.startswith(b"SQLite format 3\0") and page and size % page:
        label = f"{size:,} bytes are not whole pages of {page:,}"
        fault("E0801", f"`{request.shown}` is cut short", request.span, label)


def _duckdb(request: Request, query: str) -> tuple[list[str], Iterable[Sequence[Any]]]:
    duckdb: Any = require_package("duckdb", "duckdb", request.span)
    settings = {"enable_external_access": "false", "threads": "1", "autoload_known_extensions": "false"}
    settings |= {"autoinstall_known_extensions": "false", "allow_community_extensions": "false"}

    def rows() -> Iterator[Sequence[Any]]:
        with closing(connection):
            while batch := cursor.fetchmany(_ROWS):
                yield from batch

    connection = duckdb.connect(str(request.path), read_only=True, config=settings)
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            _refuse(request, "it is not one `select`", "a query only reads: select ... from ...")
        connection.execute("set lock_configuration = true")
        cursor = connection.execute(statements[0])
    except duckdb.Error as error:
        connection.close()
        _refuse(request, str(error).splitlines()[0])
    return [name for name, *_ in cursor.description], rows()
