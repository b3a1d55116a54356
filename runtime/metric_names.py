"""Names of metrics in `metrics.jsonl` and in reports: `PART.METRIC`, or `PART.watch.NAME.STATISTIC` if watched."""

from collections.abc import Mapping

from netc.compiler.ir.results import ResultKind, parse_result


def watched(metric: str) -> str | None:
    """The watched value that a metric is a statistic of; None for other metrics. `metric` may lack its part."""
    for text in (metric, metric.partition(".")[2]):
        result = parse_result(text)
        if result.kind is ResultKind.WATCH and result.name:
            return result.name.rpartition(".")[0]
    return None


def single_numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """The metrics that are single numbers, without matrices and the statistics of watched values."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float) and watched(name) is None}


def epoch_numbers(row: Mapping[str, object]) -> dict[str, float]:
    """The same for the row of an epoch, without its number and its times, which are not metrics."""
    return {name: value for name, value in single_numbers(row).items() if "." in name}


def is_histogram(metric: str) -> bool:
    """Whether a metric is the histogram of a watched value (metric_values.histogram)."""
    return metric.endswith(".histogram") and watched(metric) is not None
