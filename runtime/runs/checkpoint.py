"""Checkpoints: every parameter and state with the position in training, as one safetensors file, written whole.

A checksum over all of it distinguishes damage from a checkpoint of another model.
"""

import errno
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Struct, field
from msgspec.structs import asdict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text, with_nan
from netc.dsl.source import Source, Span
from netc.dsl.storage import temporary
from netc.dsl.storage.files import is_device, opened, reason, write_to_device
from netc.runtime.typed_json import converted, parsed

Array = np.ndarray[Any, Any]
CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"  # in the folder of a run
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Progress(Struct):
    """The position in training: epochs done, steps and samples done in the running epoch, and its losses so far.

    `sums` over `counts` are the means of the losses; `metrics` is the checksum of the epochs' rows in metrics.jsonl.
    """

    epoch: _Count = 0
    step: _Count = 0
    samples: _Count = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    metrics: _Count = 0


class _Header(msgspec.Struct):
    """The metadata of a checkpoint: the position in training, and which arrays are the model's own."""

    progress: Progress
    owned: tuple[str, ...]


def path_span(path: Path) -> Span:
    """The span of a message about a file that is not a text."""
    return Span(Source(str(path), ""), 0, 0)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, whatever happens meanwhile; a pipe or a device gets the bytes directly.

    Every command writes its files in this way. Raises E1001 if it cannot be written.
    """
    try:
        if os.path.isdir(path):  # a symbolic link to a folder, too: it would be replaced
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if is_device(path):
            write_to_device(path, content)
        else:
            temporary.write(path, content, is_durable=True)
    except (OSError, ValueError) as error:  # ValueError: no file can have this name
        fault("E1001", f"cannot write `{path}`", path_span(path), reason(error))


def save_checkpoint(path: Path, arrays: Mapping[str, Array], progress: Progress, owned: Iterable[str]) -> None:
    """Writes a checkpoint. `owned` are the model's own parameters and states; the others are the optimizer's.

    The same arrays and progress give the same bytes. So the metadata is one entry: the library writes several in any
    order.
    """
    write_whole(path, encoded_checkpoint(arrays, progress, owned))


def encoded_checkpoint(arrays: Mapping[str, Array], progress: Progress, owned: Iterable[str]) -> bytes:
    """The bytes of a checkpoint: see `save_checkpoint`."""
    metadata = json_text({"progress": asdict(progress), "owned": list(owned)})
    # copies, because safetensors wants memory of its own
    copies = {name: np.array(array, order="C") for name, array in arrays.items()}
    content: bytes = save(copies, {"netc": f"{_checksum(copies, metadata)} {metadata}"})
    return content


def _checksum(arrays: Mapping[str, Array], metadata: str) -> int:
    total = zlib.crc32(metadata.encode())
    for name in sorted(arrays):
        total = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), total))
    return total


def read_checkpoint(path: Path) -> tuple[dict[str, Array], Progress, tuple[str, ...]]:
    """All arrays by name, the position in training, and the model's own names. Raises E1001 if the file is damaged."""
    try:
        opened(path).close()  # the library would wait for a pipe
        with safe_open(str(path), framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  it is not a dict
            metadata = stored.metadata() or {}
        content = metadata["netc"]
        if "checksum" in metadata:  # written by an earlier version
            checksum = metadata["checksum"]
        else:
            checksum, _, content = content.partition(" ")
        if str(_checksum(arrays, content)) != checksum:
            raise ValueError("its checksum differs: the file is damaged")
        header: _Header = converted(with_nan(parsed(content, dict[str, Any])), _Header)
        return arrays, header.progress, header.owned
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        fault("E1001", f"cannot read the checkpoint `{path}`", path_span(path), reason(error))


def load_checkpoint(path: Path, arrays: Mapping[str, Array]) -> Progress:
    """Fills the arrays, by name, from a checkpoint. Raises E1001 if it is damaged or of another model."""
    stored, progress, _ = read_checkpoint(path)
    for name, array in arrays.items():
        if name not in stored or stored[name].shape != array.shape or stored[name].dtype != array.dtype:
            fault("E1001", f"the checkpoint `{path}` is of another model", path_span(path), f"`{name}` differs")
        array[...] = stored[name]
    return progress
