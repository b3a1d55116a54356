"""Checkpoints: every parameter and state with the place in training, as one safetensors file, written beside and renamed."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Progress:
    """Where training stands: epochs done, steps done in the running one, and what each of its losses adds up to so far, over how much."""

    epoch: int = 0
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)


def place_of(path: Path) -> Span:
    """A file that is no text, as the place of a message."""
    return Span(Source(str(path), ""), 0, 0)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens meanwhile. Faults E1001 if it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as beside:
            beside.write(content)
            beside.flush()
            os.fsync(beside.fileno())
        os.replace(beside.name, path)
    except OSError as error:
        fault("E1001", f"cannot write `{path}`", place_of(path), error.strerror or str(error))


def save_checkpoint(path: Path, arrays: Mapping[str, Array], progress: Progress) -> None:
    # a copy, because safetensors wants memory of its own; the names are sorted by it
    write_whole(
        path,
        save(
            {name: np.array(array, order="C") for name, array in arrays.items()},
            {"progress": json.dumps(asdict(progress))},
        ),
    )


def load_checkpoint(path: Path, arrays: Mapping[str, Array]) -> Progress:
    """Fill the arrays from a checkpoint. Faults E1001 if it is damaged or of another model."""
    try:
        with safe_open(str(path), framework="numpy") as stored:
            found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  it is no dict
            progress = Progress(**json.loads((stored.metadata() or {})["progress"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        fault("E1001", f"cannot read the checkpoint `{path}`", place_of(path), str(error))
    for name, array in arrays.items():
        if name not in found or found[name].shape != array.shape or found[name].dtype != array.dtype:
            fault("E1001", f"the checkpoint `{path}` is of another model", place_of(path), f"`{name}` differs")
        array[...] = found[name]
    return progress
