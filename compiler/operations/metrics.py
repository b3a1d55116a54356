"""Figures of a whole split: computed once, by their references, from what was collected batch by batch (evaluation.py). Metrics may use them, and `fitted`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes, Over
from netc.compiler.ir.types import BATCH, Bounded, Mismatch, Type, describe_sample
from netc.compiler.ir.value import Expansion, Operation, Value, Whole, apply, register
from netc.compiler.operations.bounded import hold
from netc.compiler.operations.reduce import Axes, as_float, build_mean, reduced_type
from netc.compiler.operations.sequence import lengths


@dataclass(frozen=True, slots=True)
class Quantile(Attributes):
    """The share of the elements that the result is not below."""

    q: float


def _ranked_above(scores: Any, positive: Any, over: Axes) -> Any:
    """Of each column the share of pairs of a positive and a negative sample whose scores are in this order; equal ones count half (Mann and Whitney)."""
    result = np.full(scores.shape[1:], np.nan)
    for column in np.ndindex(result.shape):
        own, is_positive = scores[:, *column], positive[:, *column] > 0.5
        _, place, count = np.unique(own, return_inverse=True, return_counts=True)
        rank = (np.cumsum(count) - (count - 1) / 2)[place]
        ones, zeros = int(is_positive.sum()), int((~is_positive).sum())
        if ones and zeros:
            result[column] = (rank[is_positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return result.astype(scores.dtype)


register(
    Operation(
        "ranked_above",
        "The area under the ROC curve of scores against what is true, over the batch.",
        attributes=Over,
        type=lambda scores, positive, over: reduced_type(scores, over),
        reference=_ranked_above,
        lower=Whole(),
        is_callable=False,
    )
)


def _build_auc(scores: Value, label: Value) -> Value:
    if not scores.type.is_batched or not label.type.is_batched:
        raise Mismatch("`auc` compares samples: both must depend on data", code="E0402")
    if label.type.classes is None:
        if scores.type.dims != label.type.dims:
            raise Mismatch(f"`auc` takes equal shapes, {list(scores.type.sample)} and {list(label.type.sample)}")
        return build_mean(
            apply("ranked_above", scores, as_float(label), over=(0,)), tuple(range(len(scores.type.sample)))
        )
    if scores.type.sample != (label.type.classes,):
        raise Mismatch(f"`auc` takes float[{label.type.classes}] for a class({label.type.classes})")
    scores = apply("softmax", scores, over=(1,))
    each = apply("ranked_above", scores, apply("one_hot", label, n=label.type.classes), over=(0,))
    return build_mean(each, (0,))


register(
    Operation(
        "auc",
        "The area under the ROC curve: the chance that a positive sample has a higher score than a negative one; of several classes, one against the rest, their mean.",
        type=reduced_type,
        reference=_ranked_above,
        lower=Expansion(_build_auc),
        arguments={"scores": "value", "label": "value"},
    )
)


def _quantile_type(x: Type, q: float) -> Type:
    if not x.is_batched or not x.is_float:
        raise Mismatch(f"`quantile` takes a float of each sample, and this is {describe_sample(x)}", code="E0402")
    return x.with_dims(x.dims[1:])


register(
    Operation(
        "quantile",
        "Of all samples, or all their steps, the value that a share q of them does not exceed, linear between two (Hyndman and Fan 1996, type 7). For `metric` and `fitted`.",
        attributes=Quantile,
        type=_quantile_type,
        reference=lambda x, q: np.quantile(x, q, axis=0).astype(x.dtype),
        lower=Whole(),
        arguments={"x": "value", "q": "share"},
    )
)


def _edits(a: Any, a_ends: Any, b: Any, b_ends: Any) -> Any:
    """Of each pair the least insertions, deletions and replacements that make one of the other (Levenshtein 1966), all pairs at once."""
    distance = np.zeros((len(a), a.shape[1] + 1, b.shape[1] + 1))
    distance[:, :, 0], distance[:, 0] = np.arange(a.shape[1] + 1), np.arange(b.shape[1] + 1)
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            moved = np.minimum(distance[:, i, j + 1], distance[:, i + 1, j]) + 1
            distance[:, i + 1, j + 1] = np.minimum(moved, distance[:, i, j] + (a[:, i] != b[:, j]))
    return distance[np.arange(len(a)), a_ends, b_ends]


register(
    Operation(
        "edits",
        "How many edits make one sequence of another, each with its lengths.",
        attributes=Attributes,
        type=lambda a, a_ends, b, b_ends: Type("i32", a_ends.dims),  # a count, in any precision
        reference=_edits,
        lower=Whole(),
        is_callable=False,
    )
)


def _build_edit_distance(a: Value, b: Value) -> Value:
    parts = []
    for one in (a, b):
        if one.type.dtype != "i32" or len(one.type.sample) != 1:
            told = f"`edit_distance` takes two sequences of tokens, and this is {describe_sample(one.type)}"
            raise Mismatch(told, code="E0402")
        one = hold(one)
        size = one.type.dims[-1]
        if isinstance(size, Bounded):
            ends = lengths(one.graph, size.name)
        else:
            whole = one.graph.add("constant", (), {"value": size}, Type("i32"))
            ends = apply("broadcast", whole, dims=(BATCH,))
        parts += [one, ends]
    return apply("cast", apply("edits", *parts), dtype=a.graph.precision)


register(
    Operation(
        "edit_distance",
        "The least insertions, deletions and replacements that make one sequence of tokens of another, of any lengths (Levenshtein 1966): a metric.",
        type=lambda a, b: Type("f32", (BATCH,)),
        reference=_edits,
        lower=Expansion(_build_edit_distance),
        arguments={"a": "value", "b": "value"},
    )
)
