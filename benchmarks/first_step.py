"""Time to the first step: a fresh process builds a model and takes one step.

`python -m benchmarks.first_step MODULE VARIANT WIDTH...` prints the time when the step was done.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contender import CONTENDERS, environment
from benchmarks.models import MODELS, Model


def seconds(name: str, widths: tuple[int, ...], caches: Path) -> float | None:
    """The seconds from the start of a contender's process to the end of its first step, including imports.

    Its caches are in the folder `caches`. Returns None if its library is not installed.
    """
    cache_folders = {"NETC_CACHE": str(caches / "netc"), "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor")}
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_step", *CONTENDERS[name], *map(str, widths)],
        env={**environment(2), **cache_folders},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    if "ModuleNotFoundError" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1]) - begin


def table() -> list[list[str]]:
    """One row for each contender: with empty caches, with a new model but caches filled by another, and with the same
    model again."""
    rows = [["time to first step, s", "cold", "a new model, warm", "the same again"]]
    widths = MODELS[0].widths
    for name in ("netc", "PyTorch eager", "torch.compile", "JAX step"):
        with tempfile.TemporaryDirectory() as folder:
            # 300 columns and three layers: shapes and a depth that are in no cache
            models = (widths, (300, 70, 50, 7), (300, 70, 50, 7))
            times = [seconds(name, model, Path(folder)) for model in models]
        rows.append([name, *("not installed" if value is None else f"{value:.2f}" for value in times)])
    return rows


def main() -> None:
    module, variant, *widths = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    contender = importlib.import_module(f"benchmarks.{module}").Contender(variant, 2)
    contender.build(Model("first", tuple(map(int, widths)), 64))
    contender.advance()
    print(time.time())


if __name__ == "__main__":
    main()
