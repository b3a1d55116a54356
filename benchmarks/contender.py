"""One contender in a process of its own: `python -m benchmarks.contender NAME VARIANT THREADS`.

It reads one command from each line of stdin and writes one answer to each line of stdout, both as JSON. Its threads
are set before its library is imported. Contenders stay alive side by side, and only one at a time has work: rounds
can therefore be measured in turns, and whatever else the machine does slows all of them alike.
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
    """The environment variables of a contender. OPENBLAS_CORETYPE is removed: it could slow a peer down."""
    variables = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    single = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"} if threads == 1 else {}
    return {**variables, "OMP_NUM_THREADS": str(threads), **single}


class Process:
    """Starts a contender and asks it. `is_installed` is False if its library is not."""

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
        self.is_installed = self.answer() == "ready"

    def answer(self) -> Any:
        """The contender's next answer, or None if its library is not installed. Raises RuntimeError if it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        if "ModuleNotFoundError" in errors:
            return None
        raise RuntimeError(f"{self.name} ended:\n{errors}")

    def ask(self, command: str, *arguments: Any) -> Any:
        """The answer to a command: "prepare" (a model), "round" or "epoch" (a file)."""
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
                Model(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
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
