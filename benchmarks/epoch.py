"""The table of an epoch of MNIST by each contender's own best loop, including shuffling and gathering."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.contender import CONTENDERS
from benchmarks.measure import Measured, contenders, is_narrow, weights_of
from benchmarks.models import ALL
from benchmarks.printing import Rows, print_means
from benchmarks.settings import Settings

_MNIST = Path(__file__).parent.parent / "examples" / "mnist.net"
_MODEL = ALL["MLP"]


def table(settings: Settings) -> None:
    """Prints a row for each number of threads: milliseconds of an epoch, and the best peer's time over netc's."""
    images, labels = _mnist()
    # every contender gathers in an epoch
    names = [
        name for name in CONTENDERS if name in settings.contenders and name != "netc, gathering" and not is_narrow(name)
    ]
    label = f"{_MODEL}, {len(labels):,} images"
    rows = Rows(["an epoch of MNIST, ms", "threads", *names, "best peer / netc"], len(label))
    ratios: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "mnist.npz")
        np.savez(path, x=images, y=labels)
        for threads in settings.threads:
            measured = _measured(names, threads, path, max(2, settings.rounds // 3))
            best = measured.best
            ratio = measured.ratio
            ratios[threads] = [] if ratio is None else [ratio]
            times = [f"{best[name] * 1e3:.1f}" if name in best else "-" for name in names]
            rows.add([label, str(threads), *times, "-" if ratio is None else f"{ratio:.2f}"])
    print_means(ratios)


def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """The images of the training split as rows, and their labels."""
    import netc
    from netc.runtime.data.block.spec import parse_data
    from netc.runtime.data.dataset import load

    model = netc.load(_MNIST)
    part = load(model, parse_data(model)).parts["train"]
    images, labels = (np.asarray(part[name]).reshape(len(part[name]), -1) for name in ("image", "label"))
    return images, labels.ravel()


def _measured(names: list[str], threads: int, path: str, turns: int) -> Measured:
    """The seconds of each contender's epochs, in turns; the first one warms up and does not count."""
    measured = Measured(0)
    with contenders(names, threads) as processes, weights_of(_MODEL) as weights:
        for process in processes:
            process.ask("prepare", _MODEL.name, weights)
        for turn in range(turns):
            for process in processes:
                seconds = process.ask("epoch", path)
                if turn:
                    measured.seconds.setdefault(process.name, []).append(seconds)
    return measured
