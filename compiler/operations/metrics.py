"""Split metrics: operations on all samples of a split at once, for `metric` and `fitted`.

The runtime collects their operands batch by batch and then computes each once, by its NumPy reference (evaluation.py).
"""

from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Attributes, Over
from netc.compiler.ir.forms import Expansion, SplitMetric
from netc.compiler.ir.types import BATCH, Bounded, Mismatch, Type, describe_sample
from netc.compiler.ir.value import Operation, Value, apply, register
from netc.compiler.operations.bounded import hold
from netc.compiler.operations.reduce import Axes, as_float, build_mean, reduced_type
from netc.compiler.operations.sequence import lengths


class Quantile(Attributes, frozen=True):
    """`q` is the share of the samples that the quantile is not below, between 0 and 1."""

    q: float


def area_under_curve(scores: Any, positive: Any, over: Axes) -> Any:
    """The share of pairs of a positive and a negative sample in which the positive one has the higher score.

    Equal scores count half (Mann and Whitney 1947). One share for each column of `scores`, NaN where a column has only
    positive or only negative samples.
    """
    result = np.full(scores.shape[1:], np.nan)
    for column in np.ndindex(result.shape):
        values, is_positive = scores[:, *column], positive[:, *column] > 0.5
        of_positive, of_negative = np.sort(values[is_positive]), np.sort(values[~is_positive])
        if len(of_positive) and len(of_negative):
            below, not_above = (np.searchsorted(of_negative, of_positive, side).sum() for side in ("left", "right"))
            result[column] = (below + not_above) / 2 / (len(of_positive) * len(of_negative))
    return result.astype(scores.dtype)


register(
    Operation(
        "ranked_above",
        "The area under the ROC curve of `scores`, over the batch; `positive` is 1 for the positive samples.",
        attributes=Over,
        type=lambda scores, positive, over: reduced_type(scores, over),
        reference=area_under_curve,
        lower=SplitMetric(),
        is_callable=False,
    )
)


def _build_auc(scores: Value, label: Value) -> Value:
    if not scores.type.is_batched or not label.type.is_batched:
        raise Mismatch("`auc` compares samples: both must depend on data", code="E0402")
    if scores.type.is_varying or label.type.is_varying:
        raise Mismatch("`auc` of a sequence does not run yet", code="E0901")
    if label.type.classes is None:
        if scores.type.dims != label.type.dims:
            raise Mismatch(f"`auc` takes equal shapes, {list(scores.type.sample)} and {list(label.type.sample)}")
        return build_mean(
            apply("ranked_above", scores, as_float(label), over=(0,)), tuple(range(len(scores.type.sample)))
        )
    if scores.type.sample != (label.type.classes,):
        raise Mismatch(f"`auc` takes float[{label.type.classes}] for a class({label.type.classes})")
    scores = apply("softmax", scores, over=(1,))
    area_of_class = apply("ranked_above", scores, apply("one_hot", label, n=label.type.classes), over=(0,))
    return build_mean(area_of_class, (0,))


register(
    Operation(
        "auc",
        "The area under the ROC curve: the chance that a positive sample has a higher score than a negative one. "
        "For several classes, the mean over the classes, each against all others.",
        type=reduced_type,
        reference=area_under_curve,
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
        "The value that a share q of all samples, or of all their steps, does not exceed. "
        "Between two samples it is interpolated (Hyndman and Fan 1996, type 7). For `metric` and `fitted`.",
        attributes=Quantile,
        type=_quantile_type,
        reference=lambda x, q: np.quantile(x, q, axis=0).astype(x.dtype),
        lower=SplitMetric(),
        arguments={"x": "value", "q": "share"},
    )
)


def _edits(a: Any, a_ends: Any, b: Any, b_ends: Any) -> Any:
    """The edit distance (Levenshtein 1966) of each pair of rows of a and b, of `a_ends` and `b_ends` tokens.

    All pairs are computed at once: distance[:, i, j] is the distance of the first i tokens of a and the first j of b.
    """
    distance = np.zeros((len(a), a.shape[1] + 1, b.shape[1] + 1))
    distance[:, :, 0], distance[:, 0] = np.arange(a.shape[1] + 1), np.arange(b.shape[1] + 1)
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            deleted_or_inserted = np.minimum(distance[:, i, j + 1], distance[:, i + 1, j]) + 1
            replaced = distance[:, i, j] + (a[:, i] != b[:, j])
            distance[:, i + 1, j + 1] = np.minimum(deleted_or_inserted, replaced)
    return distance[np.arange(len(a)), a_ends, b_ends]


register(
    Operation(
        "edits",
        "The number of edits between two sequences, whose lengths are given.",
        attributes=Attributes,
        type=lambda a, a_ends, b, b_ends: Type("i32", a_ends.dims),  # a count, in any precision
        reference=_edits,
        lower=SplitMetric(),
        is_callable=False,
    )
)


def _build_edit_distance(a: Value, b: Value) -> Value:
    operands = []
    for tokens in (a, b):
        if tokens.type.dtype != "i32" or len(tokens.type.sample) != 1:
            message = f"`edit_distance` takes two sequences of tokens, and this is {describe_sample(tokens.type)}"
            raise Mismatch(message, code="E0402")
        sequence = hold(tokens)
        size = sequence.type.dims[-1]
        if isinstance(size, Bounded):
            ends = lengths(sequence.graph, size.name)
        else:
            length = sequence.graph.add("constant", (), {"value": size}, Type("i32"))
            ends = apply("broadcast", length, dims=(BATCH,))
        operands += [sequence, ends]
    return apply("cast", apply("edits", *operands), dtype=a.graph.precision)


register(
    Operation(
        "edit_distance",
        "The least number of insertions, deletions and replacements that turn one sequence of tokens into another, "
        "which may have another length (Levenshtein 1966). For `metric`.",
        type=lambda a, b: Type("f32", (BATCH,)),
        reference=_edits,
        lower=Expansion(_build_edit_distance),
        arguments={"a": "value", "b": "value"},
    )
)
