"""Split metrics that calibrate a model: the temperature of its logits, the quantile of conformal prediction, and the
expected calibration error.

As in metrics.py, the runtime computes each once over all samples of a part, by its NumPy reference.
"""

import math
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import SplitMetric
from netc.compiler.ir.types import Mismatch, Type, describe_sample
from netc.compiler.ir.value import Operation, register

_LEAST, _MOST = 0.01, 100.0  # temperatures
_MOST_STEPS = 100
_PRECISION = 1e-12  # of the logarithm of a temperature
_ROUNDING = 1e-9  # of a count that is computed in floats


class Level(Attributes, frozen=True):
    """`level` is the share of new samples that are to be covered, above 0 and below 1."""

    level: float


class Bins(Attributes, frozen=True):
    """`bins` is the number of equally wide parts of the range from 0 to 1."""

    bins: int


class Reliability(Struct, frozen=True):
    """For each bin of confidences: how many samples are in it, the mean of their confidences, and the share of them
    that are right. Both are 0 in an empty bin."""

    counts: Any
    confidence: Any
    accuracy: Any

    @property
    def error(self) -> float:
        """The expected calibration error: the mean over the samples of how far accuracy and confidence are apart in
        their bin (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017)."""
        total = max(int(self.counts.sum()), 1)
        return float((self.counts * np.abs(self.accuracy - self.confidence)).sum() / total)


def reliability(confidence: Any, is_right: Any, bins: int) -> Reliability:
    """The reliability of confidences from 0 to 1, in equally wide bins that contain their upper ends."""
    numbers = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    sums = (np.bincount(numbers, np.asarray(values, np.float64), bins) for values in (confidence, is_right))
    return Reliability(counts, *(total / np.maximum(counts, 1) for total in sums))


def confidences(p: Any, label: Any) -> tuple[Any, Any]:
    """The confidence of each sample, and whether it is right: for classes, the largest probability and whether it is
    that of the label; for labels 0 and 1, the probability of 1 and the label."""
    if p.ndim == label.ndim:
        return np.asarray(p, np.float64).ravel(), np.asarray(label, np.float64).ravel()
    p = np.asarray(p, np.float64).reshape(-1, p.shape[-1])
    return p.max(axis=1), p.argmax(axis=1) == np.asarray(label).ravel()


def _labelled_type(what: str, scores: Type, label: Type) -> Type:
    """The type of a number for all samples. Raises Mismatch unless `scores` has a number for each class of `label`, or
    one for each 0 or 1."""
    if not scores.is_float or not scores.is_batched or not label.is_batched:
        raise Mismatch(
            f"`{what}` takes a float for each class of a label, and this is {describe_sample(scores)}", code="E0402"
        )
    expected = label.dims if label.classes is None else (*label.dims, label.classes)
    if scores.dims != expected:
        shape = describe_sample(Type(scores.dtype, expected))
        raise Mismatch(f"`{what}` takes {shape} for this label, and this is {describe_sample(scores)}", code="E0401")
    return Type(scores.dtype)


def temperature(logits: Any, label: Any) -> Any:
    """The temperature T with the least mean of -log softmax(z / T)[label].

    Of n samples, a label counts (n + 1) / (n + 2), and the other classes share the rest (Platt 2000): otherwise T
    would be 0 if all samples are right. The mean is convex in 1 / T. Its slope is the mean of E[z] - z[label], and the
    slope's own is that of the variance of z, both under the probabilities softmax(z / T). Newton's method finds where
    the slope is 0, within bounds that each step narrows.
    """
    z = np.asarray(logits, np.float64)
    if logits.ndim == label.ndim:  # the logit of 1 against that of 0, which is 0
        z, label = np.stack([np.zeros_like(z), z], axis=-1), label > 0.5
    z = z.reshape(-1, z.shape[-1])
    z = z - z.max(axis=1, keepdims=True)
    of_label, others = z[np.arange(len(z)), np.asarray(label, np.int64).ravel()], 1 / (len(z) + 2)
    expected = ((1 - others) * of_label + others * (z.sum(axis=1) - of_label) / (z.shape[1] - 1)).mean()

    def slopes(u: float) -> tuple[float, float]:
        p = np.exp(math.exp(u) * z)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        return float(mean.mean() - expected), float(((p * z * z).sum(axis=1) - mean * mean).mean())

    low, high, u = -math.log(_MOST), -math.log(_LEAST), 0.0  # of u = log(1 / T)
    for _ in range(_MOST_STEPS):
        slope, curvature = slopes(u)
        low, high = (u, high) if slope < 0 else (low, u)
        step = slope / (math.exp(u) * curvature) if curvature > 0 else math.inf
        following = u - step if low < u - step < high else (low + high) / 2
        if abs(following - u) < _PRECISION:
            break
        u = following
    return np.asarray(math.exp(-u), logits.dtype)


register(
    Operation(
        "temperature",
        "The number T for which softmax(logits / T) gives the labels the highest likelihood (Guo et al. 2017), "
        "from 0.01 to 100; for labels 0 and 1, sigmoid(logits / T). For `metric` and `fitted`.",
        attributes=Attributes,
        type=lambda logits, label: _labelled_type("temperature", logits, label),
        reference=temperature,
        lower=SplitMetric(),
        arguments={"logits": "value", "label": "value"},
    )
)


def least_samples(level: float) -> int:
    """The fewest samples whose scores have a conformal quantile of this level: n with ceil((n + 1) * level) <= n."""
    return math.ceil(level / (1 - level) - _ROUNDING)


def _conformal_quantile(score: Any, level: float) -> Any:
    count = len(score)
    rank = max(math.ceil((count + 1) * level - _ROUNDING), 1)
    if rank > count:
        return np.full(score.shape[1:], np.inf, score.dtype)
    return np.partition(score, rank - 1, axis=0)[rank - 1]


def _quantile_type(score: Type, level: float) -> Type:
    if not score.is_batched or not score.is_float:
        message = f"`conformal_quantile` takes a float of each sample, and this is {describe_sample(score)}"
        raise Mismatch(message, code="E0402")
    if score.is_varying:
        raise Mismatch("the steps of one sample are not independent: a score is one of a sample", code="E0402")
    return score.with_dims(score.dims[1:])


register(
    Operation(
        "conformal_quantile",
        "The score that a new sample does not exceed with at least this probability: of n scores, the one of rank "
        "ceil((n + 1) * level), infinite if that is above n (Vovk et al. 2005; Lei et al. 2018). "
        "For `metric` and `fitted`.",
        attributes=Level,
        type=_quantile_type,
        reference=_conformal_quantile,
        lower=SplitMetric(),
        arguments={"score": "value", "level": "level"},
    )
)

register(
    Operation(
        "calibration_error",
        "The expected calibration error of probabilities, in equally wide bins (Guo et al. 2017): the mean over the "
        "samples of how far the mean confidence and the share of right predictions are apart in their bin. "
        "The confidence is the largest probability, or for labels 0 and 1 that of 1. For `metric` and `fitted`.",
        attributes=Bins,
        type=lambda p, label, bins: _labelled_type("calibration_error", p, label),
        reference=lambda p, label, bins: np.asarray(reliability(*confidences(p, label), bins).error, p.dtype),
        lower=SplitMetric(),
        arguments={"p": "value", "label": "value", "bins": "number = 15"},
    )
)
