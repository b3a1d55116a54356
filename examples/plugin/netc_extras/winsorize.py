"""A step of the data: what lies beyond the quantiles of the training split comes to them. `income = column("income") -> winsorize(0.01) -> standardize`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.extend import step


def _fit(values: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    share = arguments[0] if arguments else 0.01
    if not 0 < share < 0.5:
        raise ValueError(f"{share} is no share of a tail: above 0, below 0.5")
    low, high = np.quantile(values, [share, 1 - share], axis=0)
    return {"low": low.tolist(), "high": high.tolist()}


def _apply(values: Any, state: Mapping[str, Any]) -> Any:
    return np.clip(values, state["low"], state["high"])


winsorize = step(
    "winsorize",
    "What lies beyond a share of the values (0.01) at either end comes to the bound there.",
    _apply,
    _fit,
    undo=lambda values, state: values,
    arguments=(0, 1),
)
