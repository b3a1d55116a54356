"""Names and numbers as a page shows them."""

from netc.dsl.quoting import bounded

LONGEST_LABEL = 200


def shortened(label: str) -> str:
    """A label or name as a page shows it."""
    return bounded(label, LONGEST_LABEL)


def number_text(value: float) -> str:
    """A number with three digits; nothing for NaN."""
    return "" if value != value else f"{value:.3g}"


def time_text(seconds: float) -> str:
    """A time in seconds, or in milliseconds."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
