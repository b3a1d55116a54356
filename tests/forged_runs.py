"""Forged run folders: values of other types and sizes, with matching hashes and checksums."""

import hashlib
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile import PIECES
from hostile_bytes import damaged
from msgspec.structs import asdict
from safetensors.numpy import save
from test_fuzz import mutated

from netc.runtime.runs.checkpoint import Progress, read_checkpoint, save_checkpoint

_LONG = 10**400
_DEEP: list[Any] = []
for _ in range(200):
    _DEEP = [_DEEP]
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        2**31,
        2**63,
        2**64,
        -(2**63),
        _LONG,
        0.5,
        -0.0,
        1e308,
        1e-320,
        float("nan"),
        float("inf"),
    ),
    *("", "a", "0", "nan", "x" * 5000, "/etc/passwd", "../../m.net", "a\0b", "\ud800", *PIECES[::7]),
    *([], [[]], [1], ["a"], [1.5, None], [0.0] * 3, {}, {"a": 1}, {"mean": [1.0]}, _DEEP, list(range(3000))),
)


_NAMES = [
    piece for piece in PIECES if piece.isascii()
]  # the library that writes checkpoints accepts no lone surrogates


def changed(value: Any, draw: random.Random) -> Any:
    """The value with one part replaced, dropped, doubled or renamed, somewhere inside."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        name = draw.choice(list(value))
        match draw.randrange(8):
            case 0:
                return {key: item for key, item in value.items() if key != name}
            case 1:
                return {**value, draw.choice(("more", *PIECES)): draw.choice(VALUES)}
            case _:
                return {**value, name: changed(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        index = draw.randrange(len(value))
        match draw.randrange(8):
            case 0:
                return value[:index] + value[index + 1 :]
            case 1:
                return value[:index] + [draw.choice(VALUES)] + value[index:]
            case _:
                return [*value[:index], changed(value[index], draw), *value[index + 1 :]]
    return draw.choice(VALUES)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_info(folder: Path, info: dict[str, Any]) -> None:
    """Writes run.json with the hash that belongs to it."""
    rest = {key: item for key, item in info.items() if key != "hash"}
    checksum = _sha256(
        json.dumps(dict(sorted(rest.items(), key=str)), sort_keys=False).encode("utf-8", "surrogatepass")
    )
    (folder / "run.json").write_bytes(json.dumps({**rest, "hash": checksum}).encode("utf-8", "surrogatepass"))


def _info(folder: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return info


def _with_hash(folder: Path, name: str, content: bytes) -> None:
    """Writes a file whose hash is in run.json."""
    (folder / name).write_bytes(content)
    info = _info(folder)
    _write_info(folder, {**info, "hashes": {**info["hashes"], name: [_sha256(content)]}})


def _forge_info(folder: Path, draw: random.Random) -> None:
    info = _info(folder)
    for _ in range(draw.choice((1, 1, 2))):
        info = changed(info, draw) if draw.random() < 0.9 else info
        if not isinstance(info, dict):
            (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
            return
    _write_info(folder, info)


def _forge_states(folder: Path, draw: random.Random) -> None:
    states = changed(json.loads((folder / "data.json").read_text(encoding="utf-8")), draw)
    _with_hash(folder, "data.json", json.dumps(states).encode("utf-8", "surrogatepass"))


def _forge_model(folder: Path, draw: random.Random) -> None:
    text = mutated((folder / "model.net").read_text(encoding="utf-8"), draw)
    _with_hash(folder, "model.net", text.encode("utf-8", "surrogatepass"))


def _checkpoint(folder: Path, draw: random.Random) -> Path:
    return folder / draw.choice(("checkpoint.safetensors", "best.safetensors"))


def _forge_arrays(folder: Path, draw: random.Random) -> None:
    path = _checkpoint(folder, draw)
    arrays, progress, owned = read_checkpoint(path)
    name = draw.choice(list(arrays))
    array = arrays.pop(name)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: array.astype(np.float64),
        lambda: array.astype(np.int32),
        lambda: array[..., None],
        lambda: np.zeros((0,), array.dtype),
        lambda: np.full_like(array, np.nan),
        lambda: np.full_like(array, 1e38),
        lambda: array.T,
        lambda: np.concatenate([array.reshape(-1)] * 2),
    )
    if draw.random() < 0.8:
        arrays[name if draw.random() < 0.8 else draw.choice(_NAMES)] = draw.choice(kinds)()
    save_checkpoint(path, arrays, progress, owned if draw.random() < 0.7 else [*owned, *draw.choices(_NAMES, k=2)])


def _forge_progress(folder: Path, draw: random.Random) -> None:
    """Changes any field of the progress and writes the checksum that belongs to it."""
    path = _checkpoint(folder, draw)
    arrays, progress, owned = read_checkpoint(path)
    content = {"progress": changed(asdict(progress), draw), "owned": changed(list(owned), draw)}
    if draw.random() < 0.5:
        content["owned"] = list(owned)
    text = json.dumps(content if draw.random() < 0.95 else changed(content, draw))
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        total = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), total))
    path.write_bytes(save(arrays, {"netc": text, "checksum": str(total)}))


def _forge_metrics(folder: Path, draw: random.Random) -> None:
    """Writes rows of other kinds, with the checksum that the checkpoint keeps of them."""
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [changed(row, draw) if draw.random() < 0.5 else row for row in rows]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    arrays, progress, owned = read_checkpoint(folder / "checkpoint.safetensors")
    values = asdict(progress)
    counted = "".join(text.splitlines(keepends=True)[: progress.epoch])
    forged = Progress(**{**values, "metrics": zlib.crc32(counted.encode())})
    save_checkpoint(folder / "checkpoint.safetensors", arrays, forged, owned)


def _forge_header(folder: Path, draw: random.Random) -> None:
    """Changes the header of a safetensors file, which is JSON: a length, then names with types, shapes and offsets."""
    path = _checkpoint(folder, draw)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(changed(json.loads(content[8 : 8 + length]), draw)).encode()
    said = len(header) if draw.random() < 0.8 else draw.choice((0, 2**63 - 1, 2**64 - 1, 100_000_000, 3))
    path.write_bytes(said.to_bytes(8, "little") + header + content[8 + length :])


_FILES = ("run.json", "data.json", "model.net", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors")


def _damage(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(_FILES)
    path.write_bytes(damaged(path.read_bytes(), draw))


def _replace(folder: Path, draw: random.Random) -> None:
    """Puts something that is not a file in the place of a file."""
    path = folder / draw.choice(_FILES)
    path.unlink()
    match draw.randrange(5):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to(draw.choice(("/dev/zero", "/dev/null", "nowhere", path.name, "/proc/self/mem", "/")))
        case 3:
            path.write_bytes(b"[" * 1_000_000)
        case _:
            pass


FORGERIES = (
    *(_forge_info, _forge_info, _forge_states, _forge_model, _forge_arrays),
    *(_forge_progress, _forge_metrics, _forge_header, _damage, _replace),
)


def forged_copy(trained: Path, folder: Path, draw: random.Random) -> Path:
    """Copies a run and forges something in the copy."""
    shutil.copytree(trained, folder)
    draw.choice(FORGERIES)(folder, draw)
    return folder
