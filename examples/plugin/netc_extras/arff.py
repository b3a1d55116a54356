"""A reader of ARFF files, Weka's tables: `source = arff("iris.arff")`."""

from pathlib import Path

import numpy as np

from netc.extend import reader


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns columns by name, as text: the model says what is a number. A `?` is a missing cell."""
    names: list[str] = []
    rows: list[list[str | None]] = []
    in_data = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("%"):
            continue
        if in_data:
            cells = [cell.strip().strip("'\"") for cell in words.split(",")]
            if len(cells) != len(names):
                raise ValueError(f"line {number} has {len(cells)} cells, the header declares {len(names)}")
            rows.append([None if cell == "?" else cell for cell in cells])
        elif words.lower().startswith("@attribute"):
            names.append(words.split()[1].strip("'\""))
        in_data = in_data or words.lower() == "@data"
    if not rows:
        raise ValueError("it has no rows after @data")
    return {name: np.array([row[i] for row in rows], object) for i, name in enumerate(names)}


arff = reader("arff", "A table of Weka's, cells as text.", _read, suffixes=(".arff",))
