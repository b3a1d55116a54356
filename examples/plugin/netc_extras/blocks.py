"""Blocks of the language itself: a metric, and a schedule."""

from netc.extend import Library

metrics = Library(
    "netc_extras/metrics.net",
    "metric",
    """# The share of samples whose prediction is within `by` of the target.
block within(a: float[...], b: float[...], by = 1) {
  return mean(where(abs(a - b) <= by, 1, 0), over = fixed)
}
""",
)
schedules = Library(
    "netc_extras/schedules.net",
    "schedule",
    """# A triangle wave between `low` and 1 with a period of `period` epochs (Smith 2017).
block triangular(period, low = 0.1, epoch) {
  return low + (1 - low) * abs(2 * (epoch / period - floor(epoch / period)) - 1)
}
""",
)
