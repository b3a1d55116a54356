"""A study as other processes know it: plain data from which each makes `Segments` of its own."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime import plugins
from netc.runtime.runs.run_info import Constant
from netc.runtime.studies.helper import Fields
from netc.runtime.studies.segments import Segment, SegmentResult, Segments

# the name, text and path of a file, the constants that replace its own, and modules of plug-ins
Job = tuple[str, str, str | None, tuple[tuple[str, Constant], ...], tuple[str, ...]]


def job_of(source: Source, constants: Mapping[str, Constant]) -> Job:
    """The job of training segments of a file."""
    path = str(source.path) if source.path is not None else None
    return source.name, source.text, path, tuple(constants.items()), tuple(plugins.loaded())


def train(job: Job, segment: Segment) -> SegmentResult:
    """Trains a segment of a study in this process."""
    return _segments(job).train(segment)


def train_plainly(job: Job, fields: Fields) -> Fields | None:
    """The same from the fields of a segment to those of its result."""
    result = train(job, Segment(*fields))
    return result.fields if result.error is None else None


@cache
def _segments(job: Job) -> Segments:
    name, text, path, constants, names = job
    plugins.load(names)
    return Segments(parse(Source(name, text, Path(path) if path is not None else None)), dict(constants))
