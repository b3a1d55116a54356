"""Makes adding.npz, the adding problem (Hochreiter and Schmidhuber 1997).

A sample has 60 steps of a number from 0 to 1 and a mark. Two steps are marked, one in the first tenth of the sequence
and one after it in the first half; the target is the sum of their numbers. A number is stored as a byte, in hundredths.
"""

from pathlib import Path

import numpy as np

STEPS, SAMPLES = 60, 12_000


def main() -> None:
    """Writes the file beside this one, with the same bits every time."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 101, (SAMPLES, STEPS), dtype=np.uint8)
    first = rng.integers(0, STEPS // 10, SAMPLES)
    second = rng.integers(STEPS // 10, STEPS // 2, SAMPLES)
    marks, rows = np.zeros_like(values), np.arange(SAMPLES)
    marks[rows, first] = marks[rows, second] = 100
    total = values[rows, first].astype(np.uint8) + values[rows, second].astype(np.uint8)
    np.savez_compressed(Path(__file__).with_name("adding.npz"), x=np.stack([values, marks], axis=2), sum=total)


if __name__ == "__main__":
    main()
