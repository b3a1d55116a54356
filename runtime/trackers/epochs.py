"""The row of an epoch as trackers take it: its metrics that are single numbers."""

from netc.runtime.metric_values import Row


def scalars(row: Row) -> dict[str, float]:
    """The numbers of an epoch by name, without the epoch itself. Matrices are left out."""
    return {name: float(value) for name, value in row.items() if not isinstance(value, list) and name != "epoch"}
