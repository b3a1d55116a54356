"""Limits the files that the data of a model may be read from: an editor reads only those below some folders.

The readers call `opening` before they open a file; their caller sets the folders by `inside`, and what happens with a
file outside of them. Links are followed: what counts is where the content of a file is.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from msgspec import Struct

from netc.dsl.source import Span

Outside = Callable[[Path, str, Span], None]  # the file, its name in the text, and the span of that name


class _Rule(Struct, frozen=True):
    folders: tuple[Path, ...]
    outside: Outside


_RULE: ContextVar[_Rule | None] = ContextVar("rule", default=None)  # None: every file may be read


@contextmanager
def inside(folders: Sequence[Path], outside: Outside) -> Iterator[None]:
    """Within this context, calls `outside` before a file is opened that does not lie below one of the folders.

    `outside` may raise a Fault, so that the file is not opened.
    """
    token = _RULE.set(_Rule(tuple(folders), outside))
    try:
        yield
    finally:
        _RULE.reset(token)


def opening(path: Path, shown: str, span: Span) -> None:
    """Is called before a file or folder of the data is opened: `shown` is its name in the text, at `span`."""
    rule = _RULE.get()
    if rule is not None and not is_below(path, rule.folders):
        rule.outside(path, shown, span)


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a path lies below one of the folders, both by its name and after links are followed.

    Links are followed only if the name lies there: on some systems even to look at a path can reach over a network.
    """
    real_folders = [os.path.realpath(folder) for folder in folders]
    try:
        plain = Path(os.path.abspath(path))
        if not any(plain.is_relative_to(folder) for folder in (*map(os.path.abspath, folders), *real_folders)):
            return False
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):  # ValueError: a null character
        return False
    return any(real.is_relative_to(folder) for folder in real_folders)
