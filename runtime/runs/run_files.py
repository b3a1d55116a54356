"""The files of a run's folder that say what was trained: run.json, the model's text, and the fitted steps."""

import os
from pathlib import Path
from typing import NoReturn

from netc.dsl.diagnostics import fault
from netc.dsl.storage.files import content_of
from netc.dsl.storage.near_files import near_file
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run_info import RunInfo, States, decoded, decoded_states, digest

INFO, MODEL, STATES, METRICS = "run.json", "model.net", "data.json", "metrics.jsonl"


def read_info(folder: Path) -> tuple[RunInfo, str, States]:
    """run.json, the model's text, and the fitted steps. Raises E1001 if the folder is not a run, or was changed.

    A process that trains in the folder may replace its files meanwhile, one after the other: then they are read again.
    """
    try:
        written = content_of(folder / INFO)
        while True:
            try:
                return _decoded(folder, written)
            except ValueError:
                before, written = written, content_of(folder / INFO)
                if written == before:
                    raise
    except (OSError, ValueError) as error:
        refuse(folder, error)


def _decoded(folder: Path, written: bytes) -> tuple[RunInfo, str, States]:
    """The same as `read_info`, from the bytes of run.json. Raises ValueError for files that do not belong together."""
    try:
        info = decoded(written)
    except ValueError as error:
        raise ValueError(f"{INFO}: {error}") from error
    contents = {name: content_of(folder / name) for name in (MODEL, STATES)}
    for name, content in contents.items():
        if digest(content) not in info.hashes.get(name, ()):
            raise ValueError(f"{name} is not as training left it")
    return info, contents[MODEL].decode(), decoded_states(contents[STATES])


def refuse(folder: Path, error: Exception) -> NoReturn:
    """Raises E1001 for a folder that is not a run."""
    hint = "a run's folder is what `netc train` printed, such as runs/iris"
    refuse_folder(folder, "run", INFO, error, hint)


def refuse_folder(folder: Path, kind: str, file: str, error: Exception, hint: str | None = None) -> NoReturn:
    """Raises E1001 for a folder that is not of this kind, which has such a file. The hint is the most similar folder
    that is one, or else `hint`."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        missing = os.path.basename(error.filename or file)
        text = f"it has no file {missing}" if os.path.exists(folder) else "there is no such folder"
    if os.path.isfile(folder):
        text = f"this is a file, and a {kind} is a folder"
        hint = f"`netc train {folder}` trains it and prints the {kind}'s folder" if folder.suffix == ".net" else hint
    near = near_file(str(folder), inside=file)
    fault("E1001", f"`{folder}` is not a {kind}", path_span(folder), text, hint=near or hint)
