"""One contender in a process of its own: `python -m benchmarks.contender NAME VARIANT THREADS`, then a command a line on stdin, an answer a line.

The threads are set before its library is imported. Contenders stay alive side by side, and only one at a time has work: rounds can so be
measured in turns, and what the machine does meanwhile falls on all alike.
"""

import importlib
import json
import os
import subprocess
import sys
from typing import Any

CONTENDERS = {
    "netc": ("with_netc", ""),
    "netc, gathering": ("with_netc", "table"),
    "PyTorch eager": ("with_torch", "eager"),
    "torch.compile": ("with_torch", "compile"),
    "JAX step": ("with_jax", "step"),
    "JAX scan": ("with_jax", "scan"),
}


def environment(threads: int) -> dict[str, str]:
    """The variables of a contender. OPENBLAS_CORETYPE would slow a peer down where somebody has set it."""
    kept = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    single = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"} if threads == 1 else {}
    return {**kept, "OMP_NUM_THREADS": str(threads), **single}


class Process:
    """The other end: starts a contender and asks it. `found` is False if its library is not installed."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender", *CONTENDERS[name], str(threads)],
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.found = self.answer() == "ready"

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        assert self.process.stderr is not None
        wrong = self.process.stderr.read()
        if "ModuleNotFoundError" in wrong:
            return None
        raise RuntimeError(f"{self.name} ended:\n{wrong}")

    def ask(self, command: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    import numpy as np

    module, variant, threads = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    contender = importlib.import_module(f"benchmarks.{module}").Contender(variant, int(threads))
    from benchmarks.models import Model

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == "prepare":
            (fields,) = arguments
            contender.build(
                Model(**{name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()})
            )
            result = [contender.advance() for _ in range(5)][-1]
            contender.round()
        elif command == "round":
            result = contender.round()
        else:
            data = np.load(arguments[0])
            result = contender.epoch(data["x"], data["y"])
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
