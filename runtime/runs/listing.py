"""The facts about a run's folder that a table of runs shows, only from its small files: no model is compiled for it.

A folder that is damaged, or that is not a run, has a message in place of its facts.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from safetensors import SafetensorError, safe_open

from netc.dsl.diagnostics import Fault
from netc.dsl.quoting import with_nan
from netc.dsl.storage.files import content_of, opened, reason
from netc.dsl.storage.temporary import is_temporary
from netc.runtime.metric_names import epoch_numbers
from netc.runtime.metric_values import Row
from netc.runtime.runs.checkpoint import BEST, Progress
from netc.runtime.runs.claim import is_claimed
from netc.runtime.runs.metrics import Metrics, whole_rows
from netc.runtime.runs.opening import model_as_written
from netc.runtime.runs.outcome import read_outcome
from netc.runtime.runs.run_files import INFO, METRICS, MODEL
from netc.runtime.runs.run_info import RunInfo, decoded
from netc.runtime.training.decisions import Decisions
from netc.runtime.typed_json import converted, parsed


class Listed(Struct):
    """A row of the table of runs.

    `metrics` are those of the epoch whose parameters the run is used with, `test.NAME` among them if training
    evaluated the test part; `last` those of the last epoch. `state` is "finished", "interrupted", "running",
    "ensemble", or else "damaged" or "other": `message` says why. `parts` are the folds of a cross-validation, whose own
    metrics are the means of theirs.
    """

    folder: Path
    kind: str
    model: str = ""
    epochs: int = 0
    of: int = 0
    kept: int | None = None
    state: str = ""
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    nbytes: int = 0
    parts: list["Listed"] = field(default_factory=list)


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders in a folder, by name, without hidden ones and those of writers at work."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if os.path.isdir(entry))
    except (OSError, ValueError):
        return
    yield from (folder / name for name in names if not name.startswith(".") and not is_temporary(name))


def listed_run(folder: Path) -> Listed:
    """The row of a run, or of a folder that is none."""
    nbytes = size_of(folder)
    if not os.path.lexists(folder / INFO):
        return Listed(folder, "other", state="other", message="not a run", nbytes=nbytes)
    try:
        info = decoded(content_of(folder / INFO))
        rows = [*whole_rows(folder / METRICS)] if os.path.exists(folder / METRICS) else []
    except (OSError, ValueError) as error:
        return Listed(folder, "run", state="damaged", message=reason(error), nbytes=nbytes)
    row = Listed(folder, "run", info.name, len(rows), info.epochs, settings=dict(info.set), nbytes=nbytes)
    if info.members:
        row.kind, row.state, row.of = "ensemble", "ensemble", 0
        row.message = f"{len(info.members)} members"
        return row
    row.seconds = sum(float(each["seconds"]) for each in rows if isinstance(each["seconds"], float))
    row.kept = _kept_epoch(folder, len(rows))
    if rows:
        row.last = epoch_numbers(rows[-1])
        row.metrics = epoch_numbers(rows[(row.kept or len(rows)) - 1])
    outcome = read_outcome(folder)
    if outcome is not None and (outcome.epoch, outcome.of) == (len(rows), info.epochs):
        row.metrics |= {f"test.{name}": math.nan if value is None else value for name, value in outcome.test.items()}
    else:
        outcome = None
    is_over = outcome is not None or len(rows) >= info.epochs
    if is_claimed(folder):
        row.state = "running"
    else:
        row.state = "finished" if is_over or _has_stopped(folder, info, rows) else "interrupted"
    row.message = (outcome.stopped or "") if outcome is not None else ""
    return row


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder and below."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it vanished
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def _kept_epoch(folder: Path, epochs: int) -> int | None:
    """The epoch whose parameters `keep` has kept, from the header of their file."""
    path = folder / BEST
    if not os.path.exists(path):
        return None
    try:
        opened(path).close()  # the library would wait for a pipe
        with safe_open(str(path), framework="numpy") as stored:
            content = (stored.metadata() or {})["netc"]
        header = with_nan(parsed(content.partition(" ")[2].encode(), dict[str, Any]))
        progress: Progress = converted(header["progress"], Progress)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    return progress.epoch if 1 <= progress.epoch <= epochs else None


def _has_stopped(folder: Path, info: RunInfo, rows: list[Row]) -> bool:
    """Whether `early_stop` has ended training before its last epoch."""
    try:
        text = content_of(folder / MODEL).decode()
        return "early_stop" in text and Decisions(model_as_written(folder, info, text).train, Metrics(rows)).is_over
    except (OSError, ValueError, Fault):
        return False
