"""Starts a run: its data is read and checked, and its folder appears once the model is compiled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.runtime.data.block.spec import array_spec, parse_data
from netc.runtime.data.dataset import Dataset, from_arrays, load
from netc.runtime.data.readers.sources import ReadSource, read_source
from netc.runtime.execution.fields import FieldTypes
from netc.runtime.execution.passed_fields import PassedFields
from netc.runtime.program import Program
from netc.runtime.runs.folder import require_creatable
from netc.runtime.runs.run import Run
from netc.runtime.runs.start_from import check_start_from
from netc.runtime.runs.writing import start


def data_of_new_run(
    model: Model, folder: Path, arrays: Mapping[str, Any] | None = None, read: ReadSource = read_source
) -> Dataset:
    """The data that a new run in `folder` would train on: the data block, read by `read`, or arrays by field name.

    Raises what `require_creatable` and `check_start_from` raise, before the data is read, and what `load` raises.
    """
    require_creatable(folder)
    check_start_from(model)
    if arrays is not None:
        return from_arrays(model, array_spec(model), PassedFields(FieldTypes.of(model)).checked(arrays))
    return load(model, parse_data(model), read=read)


def start_run(
    model: Model,
    folder: Path,
    overrides: Mapping[str, Any],
    dataset: Dataset,
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Run:
    """A new run in `folder`, or in a folder with a number behind that name. `overrides` are the constants of the model.

    The program is compiled first, so that a model that cannot be trained leaves no folder. `ranks` are as in Program.
    """
    program = Program(model, threads=threads, ranks=ranks)
    program.training(dataset.parts["train"])
    return start(model, folder, overrides, dataset, program)
