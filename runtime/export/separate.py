"""Runs an exported Python file in a process of its own, with a time limit, and returns the results of its `predict`.

The process is isolated (`python -I`): no module beside the file and no environment variable changes what runs. Arrays
are passed as `.npz` files without pickles; nothing of the file is executed in this process.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.storage import temporary

TIME_LIMIT = 120.0  # seconds; a check has few samples

# argv: the file, its arguments, where the answer goes. `i` is an array, `i.j` a part of a list of arrays.
_PROGRAM = """
import sys
import numpy as np
file, arguments, answer = sys.argv[1:]
def listed(stored, i):
    if str(i) in stored:
        return stored[str(i)]
    return [stored[f"{i}.{j}"] for j in range(sum(name.startswith(f"{i}.") for name in stored.files))]
space = {"__name__": "exported"}
with open(file, encoding="utf-8") as opened:
    exec(compile(opened.read(), file, "exec"), space)
with np.load(arguments, allow_pickle=False) as stored:
    fields = [listed(stored, i) for i in range(int(stored["count"]))]
results = space["predict"](*fields)
arrays = {}
for i, value in enumerate(results.values()):
    arrays |= {f"{i}.{j}": part for j, part in enumerate(value)} if isinstance(value, list) else {str(i): value}
np.savez(answer, count=len(results), **arrays)
"""


class NotRun(Exception):
    """The reason why a file could not be run."""


class Failed(NotRun):
    """The error of a file that ran."""


def predict_separately(path: Path, fields: Sequence[Any], lists: Mapping[str, bool]) -> dict[str, Any]:
    """The outputs of `predict(*fields)` of a file, by name.

    `lists` has their names in order, and whether each is a list of arrays. Raises NotRun, or Failed if the fault is the
    file's.
    """
    if not sys.executable:
        raise NotRun("there is no Python to run it")
    with temporary.folder(Path(tempfile.gettempdir())) as folder:
        arguments, answer = folder / "arguments.npz", folder / "answer.npz"
        np.savez(arguments, count=len(fields), **_parts(fields))
        words = [sys.executable, "-I", "-c", _PROGRAM, str(path.resolve()), str(arguments), str(answer)]
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=folder,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"it gave no answer within {TIME_LIMIT:g} s") from None
        except OSError as error:
            raise NotRun(f"Python cannot be started: {error.strerror}") from None
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
            raise Failed(f"it failed: {lines[-1]}")
        with np.load(answer, allow_pickle=False) as stored:
            if int(stored["count"]) != len(lists):
                raise Failed(f"it gave {int(stored['count'])} outputs in place of {len(lists)}")
            return {name: _listed(stored, i, is_list) for i, (name, is_list) in enumerate(lists.items())}


def _parts(fields: Sequence[Any]) -> dict[str, Any]:
    """The arrays of the fields, by the names that they have in the file of arguments."""
    arrays: dict[str, Any] = {}
    for i, field in enumerate(fields):
        if isinstance(field, list):
            arrays |= {f"{i}.{j}": np.asarray(part) for j, part in enumerate(field)}
        else:
            arrays[str(i)] = np.asarray(field)
    return arrays


def _listed(stored: Any, i: int, is_list: bool) -> Any:
    if not is_list:
        return stored[str(i)]
    return [stored[f"{i}.{j}"] for j in range(sum(name.startswith(f"{i}.") for name in stored.files))]
