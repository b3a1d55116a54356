"""Which files the data of a model may be read from: any of them for a command, those below some folders for an editor.

The readers ask before they open a file (`opening`); whoever calls them says what is inside, and what becomes of a file
that is not (`inside`). Links are followed: a file is where its content is.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from netc.dsl.source import Span

Outside = Callable[[Path, str, Span], None]  # the file, as the text calls it, and the place that does


@dataclass(frozen=True, slots=True)
class _Rule:
    folders: tuple[Path, ...]
    outside: Outside


_RULE: ContextVar[_Rule | None] = ContextVar("rule", default=None)  # None: whatever the text names is read


@contextmanager
def inside(folders: Sequence[Path], outside: Outside) -> Iterator[None]:
    """Meanwhile `outside` is called with each file that does not lie below these folders, before it is opened: it may
    raise a Fault.
    """
    token = _RULE.set(_Rule(tuple(folders), outside))
    try:
        yield
    finally:
        _RULE.reset(token)


def opening(path: Path, shown: str, span: Span) -> None:
    """To be called before a file or folder of the data is opened.

    `shown` is what messages call it, `span` the place that names it.
    """
    rule = _RULE.get()
    if rule is not None and not is_below(path, rule.folders):
        rule.outside(path, shown, span)


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a path is, and leads to, something below one of the folders.

    One that is elsewhere by its name alone is not looked at: on some systems even that reaches over a network.
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
