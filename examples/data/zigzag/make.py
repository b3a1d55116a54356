"""Makes zigzag.csv: points of a line, and the height of a zigzag there, which has 2, 4, 8 and 16 pieces."""

import csv
from pathlib import Path

import numpy as np


def folded(x: np.ndarray, times: int) -> np.ndarray:
    """The line from 0 to 1 folded in the middle, stretched to its old length, and so on."""
    for _ in range(times):
        x = np.minimum(2 * x, 2 - 2 * x)
    return x


points = np.sort(np.random.default_rng(0).random(800)).round(4)
with (Path(__file__).parent / "zigzag.csv").open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["x", "folds_1", "folds_2", "folds_3", "folds_4"])
    writer.writerows(zip(points, *(folded(points, times).round(4) for times in (1, 2, 3, 4)), strict=True))
