"""One contender in a process of its own: `python -m benchmarks.contender NAME VARIANT THREADS`.

It reads one command from each line of stdin and writes one answer to each line of stdout, both as JSON. Its threads
are set before its library is imported. Contenders stay alive side by side, and only one at a time has work: rounds
can therefore be measured in turns, and whatever else the machine does slows all of them alike.
"""

import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

CONTENDERS = {
    "netc": ("with_netc", ""),
    "netc, gathering": ("with_netc", "table"),
    "PyTorch eager": ("with_torch", "eager"),
    "torch.compile": ("with_torch", "compile"),
    "JAX step": ("with_jax", "step"),
    "JAX scan": ("with_jax", "scan"),
    "netc bf16": ("with_netc", "bf16"),
    "PyTorch bf16": ("with_torch", "bf16"),
}


def environment(threads: int) -> dict[str, str]:
    """The environment variables of a contender. OPENBLAS_CORETYPE is removed: it could slow a peer down.

    Flags of XLA, such as --xla_cpu_max_isa=AVX2, are kept: those for one thread are added behind them.
    """
    variables = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    if threads == 1:
        single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        variables["XLA_FLAGS"] = f"{variables.get('XLA_FLAGS', '')} {single}".strip()
    return {**variables, "OMP_NUM_THREADS": str(threads)}


class Process:
    """Starts a contender and asks it. `is_installed` is False if its library is not."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self._start()

    def _start(self) -> None:
        # a pipe that nobody reads would fill and stop the process; `end` closes the file
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender", *CONTENDERS[self.name], str(self.threads)],
            env=environment(self.threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        self.is_installed = self._answer(None) == "ready"

    def _answer(self, limit: float | None) -> Any:
        """The contender's next answer; None if its library is not installed.

        Raises RuntimeError if it has ended, and TimeoutError if it takes more than `limit` seconds.
        """
        assert self._process.stdout is not None
        # one answer at a time: none waits in the buffer, so the pipe says whether there is one
        if not select.select([self._process.stdout], [], [], limit)[0]:
            raise TimeoutError
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")
        if "ModuleNotFoundError" in errors:
            return None
        raise RuntimeError(f"{self.name} ended:\n{errors}")

    def ask(self, command: str, *arguments: Any, limit: float | None = None) -> Any:
        """The answer to a command of `main`. Raises TimeoutError after `limit` seconds: `restart` is then needed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer(limit)

    def restart(self) -> None:
        """Ends the process, whatever it does, and starts a new one."""
        self.end()
        self._start()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def main() -> None:
    """Answers commands: `prepare MODEL WEIGHTS` with the losses of five steps and the seconds of the shortest, `flops`,
    `round STEPS` and `epoch DATA` with seconds, `memory` with bytes. Files are .npz."""
    import numpy as np

    module, variant, threads = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    contender = importlib.import_module(f"benchmarks.{module}").Contender(variant, int(threads))
    from benchmarks.models import ALL

    print(json.dumps("ready"), flush=True)
    result: Any
    for line in sys.stdin:
        match json.loads(line):
            case ["prepare", name, weights]:
                contender.build(ALL[name], dict(np.load(weights)))
                result = _first_steps(contender)
            case ["flops"]:
                result = contender.flops()
            case ["round", steps]:
                result = contender.round(steps)
            case ["memory"]:
                result = _peak_memory()
            case ["epoch", path]:
                data = np.load(path)
                result = contender.epoch(data["x"], data["y"])
            case command:
                raise ValueError(command)
        print(json.dumps(result), flush=True)


def _first_steps(contender: Any) -> tuple[list[float], float]:
    """The losses of five steps, and the seconds of the shortest one."""
    losses, seconds = [], []
    for _ in range(5):
        start = time.perf_counter()
        losses.append(contender.advance())
        seconds.append(time.perf_counter() - start)
    return losses, min(seconds)


def _peak_memory() -> int:
    """The most bytes of physical memory that the process has had, from Linux."""
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) << 10


if __name__ == "__main__":
    main()
