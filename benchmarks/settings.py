"""The settings of a run, from the command line."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.contender import CONTENDERS
from benchmarks.measure import LIMIT
from benchmarks.model import Model
from benchmarks.models import MODELS


@dataclass(frozen=True)
class Settings:
    """The options of `python -m benchmarks`. `models` are parts of the names of models; none selects all.

    `filter` is a part of the name, the shape and the type of operations, `configurations` the trials of a study.
    """

    rounds: int = 12
    models: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1, 2)
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    limit: float = LIMIT
    save: Path | None = None
    filter: str = ""
    configurations: int = 100

    def selected(self) -> list[Model]:
        """The models of the table of steps that were asked for."""
        return [model for model in MODELS if not self.models or any(part in model.name for part in self.models)]
