"""The hint "did you mean ...?" for a path at which there is nothing: the most similar name that is there."""

import os
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from netc.dsl.diagnostics import nearest_name

_MOST_NAMES = 1000  # of a folder that are looked at


def near_file(shown: str, folder: Path | None = None, inside: str = "") -> str | None:
    """The hint for a path that a user wrote and at which there is nothing, or None if nothing there is similar.

    A relative path starts from the folder, by default the current one. The first part of the path that does not exist
    is compared with its neighbours; what follows is kept. With `inside`, the path is that of a folder with such a file.
    """
    parts, start = Path(shown).parts, folder or Path()
    for number, part in enumerate(parts):
        before, rest = Path(*parts[:number]), Path(*parts[number + 1 :])
        try:
            if os.path.lexists(start / before / part):
                continue
            with os.scandir(start / before) as entries:
                names = [entry.name for entry in islice(entries, _MOST_NAMES)]
        except (OSError, ValueError):  # a folder that cannot be listed, or a null character
            return None
        rest_of = rest / inside if inside else rest
        alike = [name for name in names if name[0] != "." and os.path.lexists(start / before / name / rest_of)]
        name = _nearest(part, alike)
        return f"did you mean `{before / name / rest}`?" if name is not None else None
    return None


def _nearest(name: str, names: list[str]) -> str | None:
    """The most similar of some names. Of those with the same suffix only the stems are compared; a file whose suffix
    is quite another one is of another kind, and not meant."""
    suffix = Path(name).suffix
    stems = {Path(each).stem: each for each in names if suffix and Path(each).suffix == suffix}
    stem = nearest_name(Path(name).stem, stems)
    others = [each for each in names if each not in stems.values() and _is_of_kind(each, name)]
    return stems[stem] if stem is not None else nearest_name(name, others)


def _is_of_kind(name: str, written: str) -> bool:
    """Whether a name may be meant by the one that a user wrote: its suffix `.cvs` is like `.csv`, and `.net` is not."""
    existing, suffix = ("".join(Path(each).suffixes) for each in (name, written))
    return not (suffix and existing) or bool(get_close_matches(suffix, [existing], n=1, cutoff=0.6))
