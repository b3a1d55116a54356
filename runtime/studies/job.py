"""A study as other processes know it: plain data from which each makes `Segments` of its own (remote.py)."""

from collections.abc import Mapping

from netc.dsl.source import Source
from netc.runtime import plugins
from netc.runtime.runs.run_info import Constant

# the name, text and path of a file, the constants that replace its own, and modules of plug-ins
Job = tuple[str, str, str | None, tuple[tuple[str, Constant], ...], tuple[str, ...]]


def job_of(source: Source, constants: Mapping[str, Constant]) -> Job:
    """The job of training segments of a file."""
    path = str(source.path) if source.path is not None else None
    return source.name, source.text, path, tuple(constants.items()), tuple(plugins.loaded())
