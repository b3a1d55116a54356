"""Names of metrics in `metrics.jsonl` and in reports: `PART.METRIC`, or `PART.watch.NAME.STATISTIC` if watched."""

from netc.compiler.ir.results import ResultKind, parse_result


def watched(metric: str) -> str | None:
    """The watched value that a metric is a statistic of; None for other metrics. `metric` may lack its part."""
    for text in (metric, metric.partition(".")[2]):
        result = parse_result(text)
        if result.kind is ResultKind.WATCH and result.name:
            return result.name.rpartition(".")[0]
    return None


def is_histogram(metric: str) -> bool:
    """Whether a metric is the histogram of a watched value (metric_values.histogram)."""
    return metric.endswith(".histogram") and watched(metric) is not None
