"""JSON of a run as data of a type: whatever a file holds, what comes out has the type, or ValueError says what has not.

A run's folder may come from anywhere, so nothing of it is used before it went through here.
"""

import json
from typing import Any

import msgspec


def parsed(content: bytes | str, type_: Any) -> Any:
    """JSON of a type, as msgspec understands types. Texts may hold halves of surrogate pairs, as file names and labels do. Raises ValueError."""
    try:
        return converted(json.loads(content, parse_constant=_refuse_constant), type_)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def converted(value: Any, type_: Any) -> Any:
    """Values that JSON can hold, as data of a type. Raises ValueError."""
    try:
        return msgspec.convert(value, type_)
    except (msgspec.MsgspecError, OverflowError) as error:  # a ValueError from msgspec 0.22 on; integers of 400 digits
        raise ValueError(str(error)) from error


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
