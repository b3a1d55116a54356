"""A data set as a stranger has it: files on disk, and the same rows as a clean table for scikit-learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Make = Callable[[Path, np.random.Generator], "Stranger"]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A data set.

    `data` is what `netc new --data` takes, and `unlabelled` the file that `netc predict` reads; both are relative
    to the folder of the data set. `train` and `test` are the same rows as clean tables: numbers are floats with NaN
    where a value is missing, categories and texts are str with None. `text` names the columns that hold running text.
    """

    data: str
    unlabelled: str
    target: str
    train: pd.DataFrame
    test: pd.DataFrame
    text: tuple[str, ...] = ()

    @property
    def is_class(self) -> bool:
        return not pd.api.types.is_numeric_dtype(self.train[self.target])


def divided(frame: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows but the last `count`, and the last `count`."""
    return frame.iloc[:-count].reset_index(drop=True), frame.iloc[-count:].reset_index(drop=True)


def without(values: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The values with a share of them missing: NaN for numbers, None for others."""
    is_number = values.dtype.kind == "f"
    result = values.copy() if is_number else values.astype(object)
    result[rng.random(len(values)) < share] = np.nan if is_number else None
    return result


def german(value: float, digits: int = 2) -> str:
    """A number as a German table has it: 1.234,50."""
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def written(
    path: Path,
    columns: dict[str, Sequence[str]],
    delimiter: str = ",",
    encoding: str = "utf-8",
    before: str = "",
    newline: str = "\n",
) -> None:
    """Writes cells as they are into a table of text; cells that contain the delimiter, quotes or a line end are
    quoted."""

    def quoted(cell: str) -> str:
        needs_quotes = any(character in cell for character in (delimiter, '"', "\n"))
        return '"' + cell.replace('"', '""') + '"' if needs_quotes else cell

    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    text = before + "".join(delimiter.join(map(quoted, row)) + newline for row in rows)
    path.write_bytes(text.encode(encoding))
