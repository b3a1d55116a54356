"""The subject of a verification (a model and samples for it), what a check is, and the differences that it reports.

Data only, and the few ways in which all checks prepare it: fields as arrays or sequences, samples chosen from them, and
programs over them. Knows no check.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.backends import Backend, target_of
from netc.compiler.elaborate.settings.optimizer import default_numbers
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.model import Model, Optimizer
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Target
from netc.dsl.source import Span
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.compiled_model import Options
from netc.runtime.execution.shared_executables import SharedExecutables
from netc.runtime.execution.workers import Workers
from netc.runtime.program import Program
from netc.runtime.random import generator

_RATE = 0.01  # of gradient descent
_JITTER = 0.05  # how far parameters are moved from their initial values: a bias of 0 hides what is done to it


class Subject(Struct, frozen=True):
    """A model and the data to verify it on.

    `fields` are what `Program.step` takes: one sample or more, fewer than a batch of the model or more than that.
    """

    model: Model
    fields: Mapping[str, Any]
    seed: int = 0

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.fields.values())))


class Difference(Struct, frozen=True):
    """Two ways to compute the same thing disagree.

    `where` names the step that is to blame and the result: "after `lift`: gradient.h.conv.W". `span` is the source of
    the first value that differs, as far as that is known. `detail` is a sentence with the numbers.
    """

    check: str
    where: str
    span: Span
    detail: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where} ({self.span}): {self.detail}"


class Check(Struct, frozen=True):
    """An oracle. `run` yields the differences that it finds, and nothing for a model that it does not apply to."""

    name: str
    doc: str
    needs_kernels: bool
    run: Callable[[Subject], Iterator[Difference]]


def with_single_steps(subject: Subject) -> Subject:
    """The subject with gradient descent in place of an optimizer that searches, whose steps are not values of a graph.

    What it searches by, the loss and its gradients, is the same.
    """
    train = subject.model.train
    if not OPTIMIZERS[train.optimizer.name].searches:
        return subject
    descent = Optimizer("sgd", {**default_numbers("sgd"), "lr": _RATE})
    return replace(subject, model=replace(subject.model, train=replace(train, optimizer=descent)))


def types_of_fields(model: Model) -> dict[str, Type]:
    """The types of all inputs and targets."""
    return {**model.inputs, **model.targets}


def has_loss(model: Model) -> bool:
    """Whether the model can be trained."""
    return model.graph.has(ResultKind.LOSS)


def ready_fields(model: Model, fields: Mapping[str, Any]) -> dict[str, Field]:
    """The fields of the model as arrays of their declared types; those with a varying dimension as `Ragged`."""
    types, ready = types_of_fields(model), dict[str, Field]()
    for name, field in fields.items():
        if name not in types:
            continue
        if isinstance(field, Ragged):
            ready[name] = field
        elif types[name].is_varying:
            ready[name] = Ragged.of(field, DTYPES[types[name].dtype].numpy)
        else:
            ready[name] = np.asarray(field, DTYPES[types[name].dtype].numpy)
    return ready


def chosen(fields: Mapping[str, Field], samples: Array) -> dict[str, Field]:
    """These samples of every field."""
    return {
        name: field.take(samples) if isinstance(field, Ragged) else np.asarray(field)[samples]
        for name, field in fields.items()
    }


def first_batch(subject: Subject) -> dict[str, Field]:
    """The fields of the samples that one batch takes."""
    return chosen(ready_fields(subject.model, subject.fields), np.arange(min(subject.count, subject.model.train.batch)))


def move_parameters(model: Model, arrays: Mapping[str, Array], seed: int) -> None:
    """Moves every parameter a little away from its initial value and every state of the file upwards.

    The result is the same for each backend and precision.
    """
    for name in (*model.trainables, *model.states):
        moved = np.asarray(generator(seed, "verification", name).standard_normal(arrays[name].shape)) * _JITTER
        moved = np.abs(moved) if name in model.states else moved  # a variance stays positive
        arrays[name][...] = np.asarray(arrays[name] + moved, np.float32)  # rounded alike in f32 and f64


def program_of(
    subject: Subject,
    backend: Backend | Target,
    threads: int = 1,
    model: Model | None = None,
    machine: Machine | None = None,
    executables: SharedExecutables | None = None,
) -> Program:
    """A program of the subject's model or a variant, with moved parameters; every thread takes part in each step."""
    model = model or subject.model
    options = Options(model.train.batch, subject.seed, target_of(backend, machine), executables)
    program = Program.of_options(model, options, Workers(threads))
    program.workers.shares_small_steps = True
    move_parameters(model, program.persistent, subject.seed)
    return program
