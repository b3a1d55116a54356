"""Trains a model on arrays in memory, and predicts with its parameters: texts and arrays in, arrays out.

Models are remembered by their text, and programs wait in a pool: a search of settings, or a cross-validation, compiles
once for each shape of a network. Knows no scikit-learn.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime.columns import OutputFacts
from netc.runtime.data.block.spec import array_spec
from netc.runtime.data.dataset import Dataset, from_arrays
from netc.runtime.data.stored import Array, Arrays
from netc.runtime.loading import load_model
from netc.runtime.metric_values import Row
from netc.runtime.program import Program
from netc.runtime.program_pool import ProgramPool
from netc.runtime.runs.start_from import check_start_from, start_from
from netc.runtime.studies.trial import Trial
from netc.runtime.target_outputs import output_facts
from netc.runtime.trainer import Report, train_claimed
from netc.runtime.training.checks import check_training
from netc.runtime.training.programs import programs_of

_POOL = ProgramPool()
Constant = float | bool | str


class Text(Struct, frozen=True):
    """The text of a model, the file that it comes from, if it does, and the constants that replace its own."""

    text: str
    path: str | None = None
    constants: tuple[tuple[str, Constant], ...] = ()

    @property
    def source(self) -> Source:
        return Source(self.path or "model.net", self.text, Path(self.path) if self.path is not None else None)

    def with_sizes(self, **sizes: int) -> "Text":
        """The same text with these constants, as far as it has them and they are not replaced already."""
        file = parse(self.source)
        declared = {item.name.text for item in file.items if isinstance(item, syntax.Let)} - {*dict(self.constants)}
        return replace(
            self, constants=(*self.constants, *((name, size) for name, size in sizes.items() if name in declared))
        )


class Trained(Struct, frozen=True):
    """A trained network: its arrays by name, and the metrics of each epoch. `kept` is the epoch that was kept."""

    arrays: Arrays
    metrics: tuple[Row, ...]
    kept: int | None


@lru_cache(64)
def prepared(text: Text) -> tuple[Model, str]:
    """The checked model of a text without its data block, and what its programs depend on. Raises Fault."""
    model = replace(load_model(parse(text.source), dict(text.constants)), data=None)
    return model, programs_of(model)


@lru_cache(64)
def facts(text: Text) -> OutputFacts:
    """The facts about all outputs of the model of a text."""
    model, _ = prepared(text)
    return output_facts(model, [*model.outputs])


def train(
    text: Text,
    parts: Mapping[str, Mapping[str, Any]],
    seed: int,
    threads: int = 1,
    on_progress: Callable[[Report], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Trained:
    """Trains the model of a text on arrays by part ("train", "valid") and field. Raises Fault like `netc.train`."""
    model, programs = prepared(text)
    check_start_from(model)
    dataset = _dataset(model, parts)
    check_training(model, dataset)
    program = _POOL.take(model, programs, seed, threads)
    program.fit(dataset.parts["train"])
    if model.train.start_from is not None:
        start_from(model, model.train.start_from, program)
    trial = Trial(model, program, dataset, {})
    train_claimed(trial, model.train.epochs, on_progress, on_epoch)
    if model.train.keeps_parameters:
        trial.use_best()
    names = (*model.trainables, *model.states)
    arrays = Arrays({name: program.persistent[name].copy() for name in names})
    trained = Trained(arrays, tuple(trial.metrics), trial.kept_epoch())
    _POOL.give_back(programs, program)
    return trained


def predict(text: Text, arrays: Mapping[str, Array], fields: Mapping[str, Any], threads: int = 1) -> dict[str, Any]:
    """The outputs of a model with these parameters and states, by name."""
    model, programs = prepared(text)
    program = _POOL.take(model, programs, 0, threads, draws=False)
    fill(program, arrays)
    outputs = program.predictor.predict(fields)
    _POOL.give_back(programs, program)
    return outputs


def fill(program: Program, arrays: Mapping[str, Array]) -> None:
    """Gives the parameters and states of a program their values."""
    persistent = program.persistent
    with program.guard.writing:
        for name, array in arrays.items():
            persistent[name][...] = array


def _dataset(model: Model, parts: Mapping[str, Mapping[str, Any]]) -> Dataset:
    spec = array_spec(model)
    datasets = {name: from_arrays(model, spec, arrays) for name, arrays in parts.items()}
    fields = {name: dataset.parts["train"] for name, dataset in datasets.items()}
    rows = {name: np.arange(len(next(iter(arrays.values())))) for name, arrays in fields.items()}
    return replace(datasets["train"], parts=fields, rows=rows)
