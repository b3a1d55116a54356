"""The parts that the trials of a file share: tables, data by fold, models by settings, compiled programs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.block.split import with_fold
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import Dataset, load, undone
from netc.runtime.data.readers.request import Uses
from netc.runtime.data.readers.sources import read_source
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.tables.table import Table
from netc.runtime.locks import Mutex
from netc.runtime.plugins import load_installed
from netc.runtime.program import Program
from netc.runtime.program_pool import ProgramPool
from netc.runtime.runs.run_info import Constant
from netc.runtime.training.checks import check_training
from netc.runtime.training.programs import programs_of

_MOST_MODELS = 64  # that are remembered, and as many data sets of folds


class Prepared(Struct, frozen=True):
    """The model of some settings with its data. Models with the same `programs` take programs from each other.

    `undone` brings targets back to the units of the data, as Run.undone does.
    """

    model: Model
    programs: str
    dataset: Dataset
    undone: Mapping[str, Callable[[Array], Array]]


class Shared(Struct):
    """The common parts of the trials of a file, for any number of threads."""

    file: syntax.File
    _tables: dict[tuple[SourceSpec, Path], Table] = field(default_factory=dict)
    _counts: dict[object, int] = field(default_factory=dict)
    _models: dict[object, tuple[Model, str]] = field(default_factory=dict)
    _datasets: dict[object, Dataset] = field(default_factory=dict)
    _prepared: dict[object, Prepared] = field(default_factory=dict)
    _pool: ProgramPool = field(default_factory=ProgramPool)
    _lock: Mutex = field(default_factory=Mutex)

    def prepared(self, settings: Mapping[str, Constant], fold: int | None) -> Prepared:
        """The model of some settings, which replace those of the file, and its data with a fold as validation part.

        Raises Fault like `load_model`, `load` and `check_training`.
        """
        key = _key_of(settings)
        with self._lock:
            if (ready := self._prepared.get((key, fold))) is None:
                model, programs = self._model(key, settings, fold)
                dataset = self._dataset(model, programs, fold)
                check_training(model, dataset)
                ready = Prepared(model, programs, dataset, undone(dataset.spec, dataset.states, model.targets))
                _remember(self._prepared, (key, fold), ready)
            return ready

    @property
    def nbytes(self) -> int:
        """The bytes of all data sets that are remembered."""
        with self._lock:
            parts = [part for dataset in self._datasets.values() for part in dataset.parts.values()]
        return sum(_bytes_of(stored) for part in parts for stored in part.values())

    def take(self, ready: Prepared, seed: int) -> Program:
        """A program with the initial parameters of a seed, for one trial at a time."""
        return self._pool.take(ready.model, ready.programs, seed)

    def give_back(self, ready: Prepared, program: Program) -> None:
        """Keeps a program for another trial."""
        self._pool.give_back(ready.programs, program)

    def _model(self, key: object, settings: Mapping[str, Constant], fold: int | None) -> tuple[Model, str]:
        """The model of some settings, and what its programs depend on. A fold changes only the data block, and with
        it the numbers of classes that are counted in the data."""
        shared = self._models.get((key, None)) or self._models.get((key, fold))
        if shared is None:
            file = self._file_of(fold)
            load_installed()
            model = elaborate(file, dict(settings), self._class_counter(file, fold))
            shared = model, programs_of(model)
            _remember(self._models, (key, fold if model.counted else None), shared)
        data = next((item for item in self._file_of(fold).items if isinstance(item, syntax.Data)), None)
        return replace(shared[0], data=data), shared[1]

    def _file_of(self, fold: int | None) -> syntax.File:
        return self.file if fold is None else with_fold(self.file, fold)

    def _class_counter(self, file: syntax.File, fold: int | None) -> Callable[[str, Mapping[str, Any], Span], int]:
        """Counts the classes of a field once for the data of a fold."""
        counted = class_counter(file)

        def count(name: str, lets: Mapping[str, Any], asked: Span) -> int:
            key = (name, fold, self._constants_of_data(lets))
            if key not in self._counts:
                self._counts[key] = counted(name, lets, asked)
            return self._counts[key]

        return count

    def _constants_of_data(self, lets: Mapping[str, Any]) -> tuple[object, ...]:
        """The values of the constants that the data block may read."""
        names = {node.text for node in _nodes_of_data(self.file) if isinstance(node, syntax.Name)}
        return tuple((name, repr(value)) for name, value in lets.items() if name in names)

    def _dataset(self, model: Model, programs: str, fold: int | None) -> Dataset:
        """The data of a model, without the test part: the same for all models that read the same fields of the same
        types.

        Only a model of sequences asks for more: that they are long enough for what it does.
        """
        types = {**model.inputs, **model.targets}
        is_varying = any(type_.is_varying for type_ in types.values())
        fields = tuple((name, name in model.targets, str(type_)) for name, type_ in types.items())
        key = (fold, fields, self._constants_of_data(model.constants), programs if is_varying else "")
        if key not in self._datasets:
            _remember(self._datasets, key, load(model, parse_data(model), read=self._read, without=("test",)))
        return self._datasets[key]

    def _read(self, source: SourceSpec, folder: Path, uses: Uses) -> Table:
        """A source of the data, read once: every fold needs the same columns of it."""
        key = (source, folder)
        if key not in self._tables:
            self._tables[key] = read_source(source, folder, uses)
        return self._tables[key]


def _key_of(settings: Mapping[str, Constant]) -> object:
    """Settings by value and type: `true` is not 1."""
    return tuple(sorted((name, repr(value)) for name, value in settings.items()))


def _bytes_of(stored: Field) -> int:
    match stored:
        case Ragged():
            return int(stored.rows.nbytes)
        case Bytes():
            return int(stored.array.nbytes)
        case _:
            return int(stored.nbytes)


def _remember(entries: dict[Any, Any], key: object, value: object) -> None:
    """Adds an entry, and forgets the oldest of too many."""
    entries[key] = value
    while len(entries) > _MOST_MODELS:
        entries.pop(next(iter(entries)))


def _nodes_of_data(file: syntax.File) -> Iterator[Node]:
    """All nodes of the data block."""
    pending: list[Node] = [item for item in file.items if isinstance(item, syntax.Data)]
    while pending:
        node = pending.pop()
        yield node
        pending += children(node)
