"""Prints a note on the error stream before a command reads data outside of the folder of its `.net` file."""

from contextlib import AbstractContextManager
from pathlib import Path

from netc.commands.terminal import say
from netc.compiler.model import Model
from netc.dsl.source import Span
from netc.dsl.storage.files import real
from netc.runtime.data.access import inside, opening

_MOST_NOTES = 8  # a table of pictures may name thousands of files


class OutsideData:
    """The paths that were read so far, each once, with links resolved.

    At most _MOST_NOTES of them are printed, and none in a folder that is among them.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.paths = file, dict[str, None]()
        self._count = 0  # of notes

    def named(self) -> AbstractContextManager[None]:
        """Within this context, files that are read outside of the folder are named."""
        return inside([self.file.parent], self._name)

    def name_sources(self, model: Model) -> None:
        """Names the files that training would read, even if the command does not read them. Raises Fault."""
        from netc.runtime.data.block.spec import parse_data

        spec = parse_data(model)
        with self.named():
            for source in (spec.source, *(source for _, source in spec.split.sources)):
                opening(model.source.folder / source.path, source.path, source.span)

    def _name(self, path: Path, shown: str, span: Span) -> None:
        followed = str(real(path))
        if followed in self.paths:
            return
        is_named = any(str(folder) in self.paths for folder in Path(followed).parents)
        self.paths[followed] = None
        if followed == shown or is_named:
            return  # the user wrote where the data is, or knows of its folder
        self._count += 1
        if self._count <= _MOST_NOTES:
            text = f"note: the data `{shown}` is {followed}, outside of the folder of {self.file.name}"
            say(text, is_error=True)
        elif self._count == _MOST_NOTES + 1:
            say("note: and others", is_error=True)
