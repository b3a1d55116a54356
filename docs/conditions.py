"""Measures accuracy by the number of samples and by seconds of compute, for the chapter on history.

`python docs/conditions.py samples` and `python docs/conditions.py seconds` write docs/figures/data/samples.csv and
seconds.csv. Each takes some minutes on one core. Drawing the figure reads these files, so it looks the same on every
machine. Accuracy is that of MNIST's 10,000 test pictures. Seconds are processor time of training steps alone, on one
thread; reading data, compiling and testing do not count.
"""

import csv
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import netc
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "figures" / "data"
MODELS = {  # examples and the values of their `let`s
    "no hidden layer": ("course/samples", {"hidden": 0}),
    "one hidden layer": ("course/samples", {}),
    "convolutional": ("course/samples_conv", {}),
}
BATCH = 64
Row = dict[str, float | str]


def rows_of(split: Mapping[str, Any], seed: int) -> Any:
    """The samples of a training part in an order that depends on the seed."""
    return np.random.default_rng(seed).permutation(len(split["label"]))


def batches(samples: Any, steps: int, seed: int) -> Any:
    """The numbers of the samples for so many steps: all samples in a new order, again and again."""
    generator = np.random.default_rng(seed)
    rounds = -(-steps * BATCH // len(samples))
    return np.concatenate([generator.permutation(samples) for _ in range(rounds)])[: steps * BATCH]


def program_and_data(name: str, seed: int) -> tuple[netc.Program, dict[str, Any]]:
    """A network with new parameters, and the parts of its data."""
    path, constants = MODELS[name]
    model = netc.load(ROOT / "examples" / f"{path}.net", **constants, share=0.9)
    return netc.compile(model, seed=seed, batch=BATCH, threads=1), load(model, parse_data(model)).parts


def by_samples(steps: int = 1500, seeds: int = 3) -> Iterator[Row]:
    """The accuracy after the same number of steps on more and more samples."""
    for name in MODELS:
        for count in (30, 100, 300, 1000, 3000, 10000, 54000):
            for seed in range(seeds):
                program, parts = program_and_data(name, seed)
                chosen = rows_of(parts["train"], seed)[:count]
                program.steps(parts["train"], batches(chosen, steps, seed), epoch=0)
                accuracy = program.evaluate(parts["test"])["accuracy"]
                yield {"model": name, "samples": count, "seed": seed, "accuracy": accuracy}


def by_seconds(steps: int = 8000) -> Iterator[Row]:
    """The accuracy while a network trains on all samples, with the seconds that its steps have taken so far."""
    for name in MODELS:
        program, parts = program_and_data(name, seed=0)
        order = batches(rows_of(parts["train"], 0), steps, 0)
        program.training(parts["train"])  # compiles
        seconds, done = 0.0, 0
        for end in np.unique(np.geomspace(5, steps, 26).astype(int)):
            start = time.process_time()
            program.steps(parts["train"], order[done * BATCH : end * BATCH], epoch=0)
            seconds, done = seconds + time.process_time() - start, int(end)
            accuracy = program.evaluate(parts["test"])["accuracy"]
            yield {"model": name, "steps": done, "seconds": round(seconds, 4), "accuracy": accuracy}


def main() -> None:
    measure = {"samples": by_samples, "seconds": by_seconds}
    for name in sys.argv[1:] or measure:
        rows = []
        for row in measure[name]():
            print(row, flush=True)
            rows.append(row)
        with (DATA / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
