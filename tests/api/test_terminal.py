"""Tables: without a terminal one line per row, however long; on a terminal, long cells are wrapped. Compilation shows
its progress on a terminal alone."""

import os
import pty
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netc.commands import terminal
from netc.commands.quantities import rounded, share
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


def test_a_plain_table_is_laid_out_as_rich_does(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(100):
        draw = random.Random(seed)
        columns = draw.randint(1, 5)
        rows = [
            ["".join(draw.choices("ab \t[red]:x:9.,", k=draw.choice([0, 1, 3, 9]))) for _ in range(columns)]
            for _ in range(draw.randint(1, 8))
        ]
        right = [column for column in range(columns) if draw.random() < 0.4]
        table(rows, right)
        plain = capsys.readouterr().out
        terminal._laid_out_by_rich([[escaped(cell) for cell in row] for row in rows], right, is_terminal=False)
        assert plain == capsys.readouterr().out


def test_wide_characters_count_as_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table([("\u6f22", "a"), ("bcd", "e")])
    assert capsys.readouterr().out.splitlines() == ["\u6f22   a", "bcd  e"]


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


MODEL = """model {
  input x: float[3]
  target y: class(2)
  z = x -> dense(2)
  loss cross_entropy(z, y)
}
train { optimizer = sgd(lr = 0.1) }
"""


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_command_shows_how_many_kernels_are_compiled(tmp_path: Path, is_terminal: bool) -> None:
    (tmp_path / "model.net").write_text(MODEL)
    command = [sys.executable, "-c", "from netc.commands.main import console; console()", "check", "--try", "model.net"]
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    environment = {**os.environ, "NETC_CACHE": str(tmp_path / "cache"), "TERM": "xterm"}
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=theirs, cwd=tmp_path, env=environment, check=True, timeout=300
    )
    os.close(theirs)
    try:
        shown = os.read(ours, 100_000).decode()
    except OSError:  # nothing was written to the terminal
        shown = ""
    os.close(ours)
    if not is_terminal:
        assert not shown
        return
    steps = re.findall(r"compiling  .*?(\d+) of (\d+) kernels", shown)
    count = int(steps[0][1])
    assert count > 2
    assert steps == [(str(number), str(count)) for number in range(count)], "each kernel counts once"
    assert shown.endswith("\r\x1b[J\x1b[?25h"), "the line goes away, and the cursor is back"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (12_544, "12.5 k"), (999_499, "999 k"), (999_500, "1.00 M"),
     (142_809_600, "143 M"), (10**18, "1.00 E"), (10**22, "10000 E")],
)  # fmt: skip
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert rounded(count) == text


def test_shares_of_nothing_are_blank() -> None:
    assert [share(part, 1000) for part in (0, 0.5, 1, 123)] == ["", "< 0.1 %", "0.1 %", "12.3 %"]
    assert share(0, 0) == ""
