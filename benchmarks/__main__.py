"""`python -m benchmarks [--only TABLE ...] [--rounds N]`: the tables, all contenders in one run. See README.md beside this file."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import editor, first_step, plugin
from benchmarks.contender import CONTENDERS, Process
from benchmarks.models import MODELS, Model
from netc.commands.terminal import table
from netc.compiler.kernels.peak import peak_flops
from netc.runtime.execution.workers import Workers
from netc.runtime.insight.profile import peak_of

_MNIST = Path(__file__).parent.parent / "examples" / "mnist.net"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="which tables")
    parser.add_argument("--models", default="", help="of the steps, those whose names hold this")
    parser.add_argument("--rounds", type=int, default=12, help="of measuring, each contender in turn; the best counts")
    given = parser.parse_args()
    for name in given.only:
        steps(given.rounds, given.models) if name == "steps" else TABLES[name](given.rounds)
        print()


def peaks() -> dict[int, float]:
    """FLOP/s of one core, and of two at once."""
    return {1: peak_flops("f32"), 2: peak_of("f32", Workers(2), 2)}


def start(threads: int, but: Sequence[str] = ()) -> list[Process]:
    """The contenders that are installed, netc first."""
    processes = [Process(name, threads) for name in CONTENDERS if name not in but]
    for one in processes:
        if not one.found:
            print(f"{one.name} is not installed: pip install -e '.[bench]'")
    return [one for one in processes if one.found]


def measure(processes: Sequence[Process], model: Model, rounds: int) -> dict[str, float]:
    """The best seconds a step of each contender, measured in turns. All begin with the same weights, and must come to the same loss."""
    losses = {one.name: one.ask("prepare", asdict(model)) for one in processes}
    for name, loss in losses.items():
        assert abs(loss - losses["netc"]) < 1e-3 * abs(loss), f"{name} computes something else: {losses}"
    found = dict.fromkeys(losses, float("inf"))
    for _ in range(rounds):
        for one in processes:
            found[one.name] = min(found[one.name], one.ask("round"))
    return found


def steps(rounds: int, models: str = "") -> None:
    """A training step with Adam: microseconds of each contender, the best peer's time as a multiple of netc's, and netc's share of the peak."""
    peak = peaks()
    print(
        f"a training step with Adam, us. The peak is {peak[1] / 1e9:.0f} GFLOP/s on one thread, {peak[2] / 1e9:.0f} on two; its share counts products alone."
    )
    rows, ones = [["model", "threads", *CONTENDERS, "best peer / netc", "of peak", "1 thread / 2"]], dict[str, float]()
    for threads in (1, 2):
        processes = start(threads)
        for model in (one for one in MODELS if models in one.name):
            found = measure(processes, model, rounds)
            own = found["netc"]
            peers = [seconds for name, seconds in found.items() if not name.startswith("netc")]
            ones.setdefault(model.name, own)
            rows.append(
                [
                    str(model),
                    str(threads),
                    *(f"{found[name] * 1e6:.1f}" if name in found else "-" for name in CONTENDERS),
                    f"{min(peers) / own:.2f}" if peers else "-",
                    f"{model.flops / own / peak[threads]:.0%}",
                    f"{ones[model.name] / own:.2f}" if threads == 2 else "",
                ]
            )
        for one in processes:
            one.end()
    table(rows, right=range(1, len(rows[0])))


def epoch(rounds: int) -> None:
    """An epoch of MNIST by each contender's own loop, shuffling and gathering included."""
    import netc
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data

    model = netc.load(_MNIST)
    part = load(model, parse_data(model)).parts["train"]
    x, y = (np.asarray(part[name]).reshape(len(part[name]), -1) for name in ("image", "label"))
    names = [name for name in CONTENDERS if name != "netc, gathering"]  # an epoch gathers, whoever runs it
    rows = [["an epoch of MNIST, ms", "threads", *names, "best peer / netc"]]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "mnist.npz", x=x, y=y.ravel())
        for threads in (1, 2):
            processes = start(threads, but=["netc, gathering"])
            found = dict.fromkeys((one.name for one in processes), float("inf"))
            for one in processes:
                one.ask("prepare", asdict(MODELS[0]))
            for turn in range(max(2, rounds // 3)):
                for one in processes:
                    seconds = one.ask("epoch", str(Path(folder) / "mnist.npz"))
                    found[one.name] = min(found[one.name], seconds if turn else float("inf"))  # the first one warms up
            peers = [seconds for name, seconds in found.items() if not name.startswith("netc")]
            rows.append(
                [
                    f"{MODELS[0]}, {len(y):,} images",
                    str(threads),
                    *(f"{found[name] * 1e3:.1f}" if name in found else "-" for name in names),
                    f"{min(peers) / found['netc']:.2f}" if peers else "-",
                ]
            )
            for one in processes:
                one.end()
    table(rows, right=range(1, len(rows[0])))


def growth(rounds: int) -> None:
    """netc alone: what twice the width, depth or batch costs, beside what its FLOPs say."""
    series = {
        "width": [Model("width", (784, width, width, 10), 64) for width in (64, 128, 256, 512, 1024)],
        "depth": [Model("depth", (784, *(256,) * depth, 10), 64) for depth in (1, 2, 4, 8, 16)],
        "batch": [Model("batch", (784, 256, 256, 10), batch) for batch in (16, 32, 64, 128, 256)],
    }
    rows = [["growth of", "threads", "model", "us", "FLOPs, times", "time, times", "time / FLOPs"]]
    for threads in (1, 2):
        own = Process("netc", threads)
        for name, models in series.items():
            before: tuple[int, float] | None = None
            for model in models:
                seconds = measure([own], model, rounds)["netc"]
                more, longer = (model.flops / before[0], seconds / before[1]) if before else (1.0, 1.0)
                rows.append(
                    [
                        name,
                        str(threads),
                        f"{'-'.join(map(str, model.widths)) if len(model.widths) < 8 else f'784-{len(model.widths) - 2}x256-10'}, batch {model.batch}",
                        f"{seconds * 1e6:.1f}",
                        *((f"{more:.2f}", f"{longer:.2f}", f"{longer / more:.2f}") if before else ("", "", "")),
                    ]
                )
                before = model.flops, seconds
        own.end()
    table(rows, right=range(3, len(rows[0])))


def first(rounds: int) -> None:
    """Seconds from the start of a process to the end of its first step."""
    table(first_step.table(), right=(1, 2, 3))


def answers(rounds: int) -> None:
    """What an editor waits for."""
    table(editor.table(rounds), right=(1, 2))


def plugins(rounds: int) -> None:
    """What it costs that an operation is of a package: nothing."""
    table(plugin.table(rounds), right=(1, 2, 3, 4))


TABLES = {"steps": steps, "epoch": epoch, "growth": growth, "first": first, "editor": answers, "plugin": plugins}

if __name__ == "__main__":
    main()
