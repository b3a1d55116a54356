"""Tables: without a terminal one line per row, however long; on a terminal, long cells are wrapped."""

import os
import pty
import subprocess
import sys

import pytest

from netc.commands.terminal import table
from netc.dsl.quoting import escaped

ROWS = [("line", "what [bold]", "count"), ("1", "a\tb :smile:", "12"), ("22", "x" * 300, "3"), ("", " indented", "")]


def test_a_table_without_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    table(ROWS, right=(0, 2))
    assert capsys.readouterr().out.splitlines() == [
        f"line  {'what [bold]':300}  count",
        f"   1  {escaped(ROWS[1][1]):300}     12",
        f"  22  {'x' * 300}      3",
        "       indented",
    ]


def test_a_table_on_a_terminal_is_wrapped() -> None:
    ours, theirs = pty.openpty()
    program = f"from netc.commands.terminal import table; table({ROWS!r}, right=(0, 2))"
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    lines = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    assert len(lines) > len(ROWS)
    assert max(map(len, lines)) <= 40
    assert sum(line.count("x") for line in lines) == 300, "nothing is cut off"
