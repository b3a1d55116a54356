"""A data step that clips values to quantiles of the training split.

income = column("income") -> winsorize(0.01) -> standardize
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.extend import step


def _fit(values: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    share = arguments[0] if arguments else 0.01
    if not 0 < share < 0.5:
        raise ValueError(f"{share} is not a share of a tail: it must be above 0 and below 0.5")
    low, high = np.quantile(values, [share, 1 - share], axis=0)
    return {"low": low.tolist(), "high": high.tolist()}


def _apply(values: Any, state: Mapping[str, Any]) -> Any:
    return np.clip(values, state["low"], state["high"])


winsorize = step(
    "winsorize",
    "Clips the given share of the values (0.01) at either end to the quantile there.",
    _apply,
    _fit,
    undo=lambda values, state: values,
    arguments=(0, 1),
)
