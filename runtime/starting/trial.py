"""Tries a file that is not written yet: reads its data, fits the steps, and runs two training steps.

Takes a text with the path that it will have. Raises the faults that `netc train` would end in.
"""

import numpy as np

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.results import ResultKind
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.block.spec import parse_block, parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import load
from netc.runtime.data.division.partition import read_parts
from netc.runtime.data.pipeline import fit_steps, labels_of
from netc.runtime.data.readers.sources import ReadSource, read_source
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.program import Program

_STEPS = 2


def category_counts(source: Source, label: str | None, read: ReadSource) -> dict[str, int]:
    """The number of classes or places that each field of the data block has in the training part, by field.

    `label` is the field whose classes the split distributes evenly, `read` reads the source.
    """
    data = next(item for item in parse(source).items if isinstance(item, syntax.Data))
    spec = parse_block(source, data, {})
    training = read_parts(spec, source, label, read)["train"]
    counts: dict[str, int] = {}
    for name, field in spec.fields.items():
        step = STEPS[field.steps[-1].name] if field.steps else None
        if step is None or (step.category_count is None and step.labels is None):
            continue
        states = fit_steps(field, training)
        counts[name] = step.category_count(states[-1]) if step.category_count else len(labels_of(field, states) or ())
    return {name: count for name, count in counts.items() if count}


def try_training(source: Source, read: ReadSource = read_source) -> None:
    """Loads the data, by `read`, and runs two training steps.

    Raises E1002 if a loss is not a number, and what loading raises.
    """
    file = parse(source)
    model = elaborate(file, class_count=class_counter(file))
    dataset = load(model, parse_data(model), read=read)
    fields = dataset.training(model.train.seed, 1)
    program = Program(model)
    program.fit(fields)
    rows = min(len(dataset.rows["train"]), _STEPS * model.train.batch)
    losses = program.steps(fields, np.arange(rows), 1).values["loss"]
    if not np.isfinite(losses).all():
        span = next(iter(model.graph.results_of(ResultKind.LOSS).values())).span
        fault("E1002", "the loss of the first rows is not a number", span)
