"""Runs commands in a pseudo-terminal, as a person would, and keeps what the screen showed.

`Recording.text` is the transcript: the lines that have scrolled away, and the last screen. `masked` takes out what
differs from run to run.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyte

ROWS = 24
_PATIENCE = 240  # seconds
_PROGRAM = "import sys; sys.argv[0] = 'netc'; from netc.commands.main import console; console()"
_GLYPHS = "▁▂▃▄▅▆▇█"


@dataclass
class Recording:
    """The output of a terminal: the screen at some moments, and all lines in the end. `status` is the exit status."""

    moments: list[str] = field(default_factory=list)
    text: str = ""
    status: int = -1


@dataclass(frozen=True)
class Moment:
    """Once the screen has this pattern, it is kept, and `keys` are typed."""

    pattern: str
    keys: bytes = b""


def record(
    columns: int,
    cwd: Path,
    *arguments: object,
    moments: Sequence[Moment] = (),
    environment: dict[str, str] | None = None,
    program: str = _PROGRAM,
) -> Recording:
    """Runs `netc`, or a text of Python, in a terminal of so many columns. The moments are waited for one by one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    variables = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(environment or {})}
    for name in ("COLUMNS", "LINES"):
        variables.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=variables,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    screen = pyte.HistoryScreen(columns, ROWS, history=10_000, ratio=1)
    stream, recording, waiting = pyte.ByteStream(screen), Recording(), list(moments)
    end = time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    written = os.read(ours, 1 << 16)
                except OSError:  # the process has ended
                    break
                if not written:
                    break
                stream.feed(written)
            if waiting and re.search(waiting[0].pattern, _shown(screen)):
                moment = waiting.pop(0)
                recording.moments.append(_shown(screen))
                os.write(ours, moment.keys)
        recording.status = process.wait(timeout=_PATIENCE)
    finally:
        process.kill()
        os.close(ours)
    assert not waiting, f"the screen never showed {waiting[0].pattern}:\n{_shown(screen)}"
    recording.text = _shown(screen)
    return recording


def _shown(screen: pyte.HistoryScreen) -> str:
    """All lines, those that have scrolled away first."""
    scrolled = ["".join(line[i].data for i in range(screen.columns)) for line in screen.history.top]
    return "\n".join(line.rstrip() for line in [*scrolled, *screen.display]).rstrip() + "\n"


def masked(text: str) -> str:
    """The text without what differs from run to run: times, rates, bars, curves, how far a line at the bottom is."""
    lines = []
    for line in text.splitlines():
        if line.startswith("interrupted; "):  # said only if the rest takes a while
            continue
        line = re.sub(r" *\b\d[\d.,]* (ms|s|min|h)\b( \d\d (s|min)\b)?", " TIME", line)
        line = re.sub(r"( TIME) +[\d,]+(?= \*$|$)", r"\1 RATE", line)  # the last column of a table
        line = re.sub(r"\d[\d,]* samples/s", "RATE samples/s", line)
        if re.search("[━╸─]{10}", line) and "valid" not in line:  # the line at the bottom
            line = re.sub(f"[━╸─]{{10,}}|[{_GLYPHS}]{{2,}}", lambda bar: "BAR" if bar[0][0] in "━╸─" else "CURVE", line)
            line = line.replace("  RATE samples/s", "")  # there may be no room for it
            line = re.sub(r"(loss|kernels|,) [\d.e-]+", r"\1 N", re.sub(r"\d+ of \d+ kernels", "N of N kernels", line))
        # the memory depends on the number of cores, and so do the lines
        if line.startswith("a step of") or "intermediate values" in line:
            line = re.sub(r"[\d.]+ [kMG]?B\b", "SIZE", line)
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"
