"""Numbers of things in messages: "1 row", "1,200 rows"."""


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural unless the count is 1, with commas between thousands."""
    return f"{count:,} {noun}{'s' * (abs(count) != 1)}"
