"""JSON of a run as data of a type: the result has the type, or ValueError says what has not.

A run's folder may come from anywhere, so nothing in it is used before it was read in this way.
"""

import json
from typing import Any

import msgspec


def parsed(content: bytes | str, type_: Any) -> Any:
    """Parses JSON into a type of msgspec. Raises ValueError.

    Strings may contain halves of surrogate pairs, as file names and labels do.
    """
    try:
        return converted(json.loads(content, parse_constant=_refuse_constant), type_)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def converted(value: Any, type_: Any) -> Any:
    """Convert values that JSON can hold to a type of msgspec. Raises ValueError."""
    try:
        return msgspec.convert(value, type_)
    except (msgspec.MsgspecError, OverflowError) as error:  # a ValueError from msgspec 0.22 on; integers of 400 digits
        raise ValueError(str(error)) from error


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
