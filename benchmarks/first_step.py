"""Time to the first step: a fresh process builds a model and takes one step.

`python -m benchmarks.first_step MODULE VARIANT MODEL WEIGHTS` prints the time when the step was done.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contender import CONTENDERS, environment
from benchmarks.measure import weights_of
from benchmarks.models import ALL


def seconds(contender: str, model: str, weights: str, caches: Path) -> float | None:
    """The seconds from the start of a contender's process to the end of its first step, including imports.

    Its caches are in the folder `caches`. Returns None if its library is not installed.
    """
    cache_folders = {"NETC_CACHE": str(caches / "netc"), "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor")}
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_step", *CONTENDERS[contender], model, weights],
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
    with weights_of(ALL["MLP"]) as cold, weights_of(ALL["first step"]) as new:
        for name in ("netc", "PyTorch eager", "torch.compile", "JAX step"):
            with tempfile.TemporaryDirectory() as folder:
                models = (("MLP", cold), ("first step", new), ("first step", new))
                times = [seconds(name, model, weights, Path(folder)) for model, weights in models]
            rows.append([name, *("not installed" if value is None else f"{value:.2f}" for value in times)])
    return rows


def main() -> None:
    import numpy as np

    module, variant, model, weights = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    contender = importlib.import_module(f"benchmarks.{module}").Contender(variant, 2)
    contender.build(ALL[model], dict(np.load(weights)))
    contender.advance()
    print(time.time())


if __name__ == "__main__":
    main()
