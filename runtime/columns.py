"""Predictions as the columns of a table, in the words of the data: labels of classes, texts of tokens.

Takes plain data about a model's outputs (target_outputs.py asks the graph for it), so that a saved prediction needs no
graph.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.runtime.data.steps.data_step import UNKNOWN
from netc.runtime.data.stored import Array

Labels = Callable[[str, int], tuple[str, ...]]  # of a field with some classes; () if the data does not name them


class Distribution(Struct, frozen=True):
    """An output that holds the probabilities of the classes of a target.

    It has a probability for each class in its last dimension; if it `is_binary`, that of the second of two classes. A
    sample of the target has one class, or as many as `entries`; `names` are those of their columns. If it
    `is_multiple`, the classes have a probability each, and a sample has any number of them. The classes of a sample
    that are pieces of a text are joined by `separator`.
    """

    target: str
    output: str
    classes: int
    is_binary: bool = False
    entries: int = 0
    is_multiple: bool = False
    names: tuple[str, ...] = ()
    separator: str | None = None

    def chances(self, values: Array) -> Array:
        """The probabilities [row, class], where `values` are those of the output: a row for each sample or step."""
        return np.stack([1 - values, values], axis=-1) if self.is_binary else values

    def ends(self, labels: Sequence[str]) -> list[str]:
        """The ends of the names of the columns of the output, one for each number of a sample."""
        if self.is_multiple:
            return [f"[{label}]" for label in labels]
        entries = [f"[{name}]" for name in self.names] if self.entries else [""]
        return entries if self.is_binary else [f"{entry}[{label}]" for entry in entries for label in labels]


class OutputFacts(Struct, frozen=True):
    """Facts about a model's outputs that are known before anything is predicted (target_outputs.py).

    `tokens` are the field and the number of classes of each output that holds tokens of a field. `units` is the target
    in whose units an output is, if there is one. `intervals` are the outputs that have a lower and an upper bound;
    `sets` are the target and the number of classes of each output that has a bool for each class.
    """

    distributions: list[Distribution]
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    intervals: list[str] = field(default_factory=list)
    sets: dict[str, tuple[str, int]] = field(default_factory=dict)


def columns_of(facts: OutputFacts, labels_of: Labels, predicted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Predictions as the columns of a table with a row for each sample; a sequence is one cell, a list.

    The predicted label of each target comes first, then the outputs, with a column for each number of a sample.
    """
    columns: dict[str, list[Any]] = dict(labels_predicted(facts, labels_of, predicted))
    ends: dict[str, list[str]] = {}  # of the names of columns, by the output that holds probabilities
    for distribution in facts.distributions:
        if labels := _labels(distribution, labels_of):
            ends.setdefault(distribution.output, distribution.ends(labels))
    ends |= {name: ["[lower]", "[upper]"] for name in facts.intervals}
    ends |= {name: [f"[{label}]" for label in labels_of(*facts.sets[name])] for name in facts.sets}
    for name, value in predicted.items():
        words = labels_of(*facts.tokens[name]) if name in facts.tokens else ()
        if isinstance(value, list):
            columns[name] = [_words(row, words) if words and row.ndim == 1 else _digits(row) for row in value]
            continue
        if words and value.ndim == 1:
            columns[name] = _words(value, words)
            continue
        flat = value.reshape(len(value), -1)
        for i in range(flat.shape[1]):
            end = ends[name][i] if name in ends and len(ends[name]) == flat.shape[1] else f"[{i}]"
            columns[name if flat.shape[1] == 1 else f"{name}{end}"] = _numbers(flat[:, i])
    return columns


def _labels(distribution: Distribution, labels_of: Labels) -> tuple[str, ...]:
    """The labels of the classes of a distribution: the names of columns, where each column is a class."""
    if distribution.is_multiple and distribution.names:
        return distribution.names
    return labels_of(distribution.target, distribution.classes)


def labels_predicted(
    facts: OutputFacts, labels_of: Labels, predicted: Mapping[str, Any]
) -> dict[str, list[str | list[str]]]:
    """The likeliest label of each target that an output holds the probabilities of; for a sequence those of its steps.

    A target that has several columns has a label for each, `y[left]` and `y[right]`. Other samples with several labels
    have a list of them, or the text that they are pieces of; with any number of classes, of those that are likelier
    than not. A target whose classes have no labels is left out.
    """
    columns: dict[str, list[str | list[str]]] = {}
    for distribution in facts.distributions:
        words = _labels(distribution, labels_of)
        if distribution.output not in predicted or not words:
            continue
        target, values = distribution.target, predicted[distribution.output]
        if isinstance(values, list):
            columns[target] = [_likeliest(distribution, sample, words) for sample in values]
        elif distribution.is_multiple:
            present = (np.flatnonzero(row > 0.5) for row in values)
            columns[target] = [
                _joined([word for word in _words(row, words) if word != UNKNOWN], distribution) for row in present
            ]
        elif distribution.names:
            numbers = distribution.chances(values).argmax(axis=-1)
            columns |= {f"{target}[{name}]": _words(numbers[:, i], words) for i, name in enumerate(distribution.names)}
        else:
            columns[target] = [_joined(entry, distribution) for entry in _likeliest(distribution, values, words)]
    return columns


def _joined(words: Any, distribution: Distribution) -> Any:
    """The labels of a sample, which is one text if they are pieces of it."""
    separator = distribution.separator
    return separator.join(words) if separator is not None and isinstance(words, list) else words


def _likeliest(distribution: Distribution, values: Array, words: tuple[str, ...]) -> list[str]:
    return _words(distribution.chances(values).argmax(axis=-1), words)


def _words(numbers: Array, words: tuple[str, ...]) -> list[Any]:
    """The words of these numbers, in nested lists if the numbers have several axes."""
    cells: list[Any] = np.array(words, object)[numbers].tolist()
    return cells


def _numbers(column: Array) -> list[Any]:
    """The numbers of a column. Those of f32 stay float32, whose text has no more digits than float32 has."""
    return list(column) if column.dtype == np.float32 else column.tolist()


def _digits(array: Array) -> Any:
    """An array as nested lists of numbers that are printed with the digits that their type has."""
    return (array.astype(str).astype(np.float64) if array.dtype == np.float32 else array).tolist()


def blanked(columns: Mapping[str, list[Any]], used: Array, count: int) -> dict[str, list[Any]]:
    """The same columns for all `count` samples: None except in the samples with the numbers `used`."""
    if len(used) == count:
        return dict(columns)
    result: dict[str, list[Any]] = {}
    for name, cells in columns.items():
        result[name] = [None] * count
        for sample, cell in zip(used.tolist(), cells, strict=True):
            result[name][sample] = cell
    return result
