"""Measures training steps of a model by several contenders, round by round in turns."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.contender import CONTENDERS, Process
from benchmarks.model import Model

LIMIT = 180.0  # seconds that a contender may take to compile a model, and then for all rounds of it
FEWEST = 3  # rounds, however long they take
# Of the first loss: by how much that of a contender in bf16 may differ. The later ones do not count: Adam's first steps
# have the size of the learning rate, however small a gradient is, and turn roundings into tenths of the loss.
_NARROW = 0.03
_ROUND = 0.05  # seconds that a round should take


@dataclass
class Measured:
    """The seconds per step of each contender, round by round; `left_out` says why a contender has none.

    `flops` are those of the matrix products of a step.
    """

    flops: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, float]:
        """The shortest round of each contender."""
        return {name: min(rounds) for name, rounds in self.seconds.items()}

    @property
    def ratio(self) -> float | None:
        """The time of the fastest contender other than netc as a multiple of netc's; None without such a contender.

        Contenders in bf16 do not count: they compute something else.
        """
        best = self.best
        peers = [best[name] for name in best if not name.startswith("netc") and not is_narrow(name)]
        return min(peers) / best["netc"] if peers else None

    @property
    def narrow_ratio(self) -> float | None:
        """The same for contenders in bf16 alone."""
        narrow = {name: seconds for name, seconds in self.best.items() if is_narrow(name)}
        bf16 = narrow.pop("netc bf16", None)
        return min(narrow.values()) / bf16 if bf16 is not None and narrow else None


def is_narrow(name: str) -> bool:
    """Whether a contender multiplies in bf16."""
    return name.endswith(" bf16")


@contextmanager
def contenders(names: Collection[str], threads: int) -> Iterator[list[Process]]:
    """The processes of these contenders, netc first, without those whose library is not installed."""
    processes = [Process(name, threads) for name in CONTENDERS if name in names]
    try:
        for process in processes:
            if not process.is_installed:
                print(f"{process.name} is not installed: pip install -e '.[bench]'", flush=True)
        yield [process for process in processes if process.is_installed]
    finally:
        for process in processes:
            process.end()


@contextmanager
def weights_of(model: Model) -> Iterator[str]:
    """The path of a file with the first weights of a model, while it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        np.savez(path, **model.weights())
        yield str(path)


def measure(processes: Sequence[Process], model: Model, rounds: int, limit: float = LIMIT) -> Measured:
    """Measures contenders in turns; netc is the first.

    All begin with the same weights. An assertion fails if their losses in the first five steps differ. A contender that
    needs more than `limit` seconds to compile is left out. It gets fewer rounds if all take more than `limit` seconds.
    """
    netc, *peers = processes
    with weights_of(model) as path:
        losses, steps = _prepared(netc, model, path, None)
        measured = Measured(netc.ask("flops"), {netc.name: []})
        steps_of = {netc.name: steps}
        for peer in peers:
            try:
                reached, steps_of[peer.name] = _prepared(peer, model, path, limit)
            except TimeoutError:
                measured.left_out[peer.name] = f"took more than {limit:.0f} s to compile"
                peer.restart()
                continue
            measured.seconds[peer.name] = []
            message = f"{model.name}: the losses of {peer.name} are {reached}, those of netc {losses}"
            tolerance, compared = model.tolerance, len(losses)
            if is_narrow(peer.name):
                tolerance, compared = max(tolerance, _NARROW), 1
            differences = [abs(loss - its) for loss, its in zip(losses, reached, strict=True)]
            assert max(differences[:compared]) < tolerance * abs(losses[0]), message
    for _ in range(rounds):
        for process in processes:
            times, steps = measured.seconds.get(process.name), steps_of.get(process.name, 0)
            if times is not None and (len(times) < FEWEST or sum(times) * steps < limit):
                times.append(process.ask("round", steps))
    return measured


def _prepared(process: Process, model: Model, path: str, limit: float | None) -> tuple[list[float], int]:
    """The losses of a contender's first steps, and the number of steps in its rounds.

    Raises TimeoutError if it takes more than `limit` seconds to compile.
    """
    losses, seconds = process.ask("prepare", model.name, path, limit=limit)
    steps = _steps(seconds)
    seconds = process.ask("round", steps, limit=limit)
    if seconds * steps < _ROUND / 3:  # a single step took longer, since it has costs of its own
        steps = _steps(seconds)
        process.ask("round", steps, limit=limit)
    return losses, steps


def _steps(seconds: float) -> int:
    """The number of steps of a round, from the seconds of a step."""
    return max(4, min(5000, round(_ROUND / seconds)))
