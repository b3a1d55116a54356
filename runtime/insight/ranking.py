"""The quality of a ranking of samples by their scores for a class: the precision-recall and the ROC curve.

Takes arrays and gives arrays; the sections of a page are in classes.py.
"""

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array


class Ranking(Struct, frozen=True):
    """The curves over all thresholds, from the highest to the lowest, each with the point before the first sample.

    `recall` is the share of the positive samples that score at least the threshold (the true positive rate),
    `false_positives` the same share of the negative ones, and `precision` that of the positive ones among all samples
    that score so. `area` is that under the ROC curve, the chance that a positive sample scores higher than a negative
    one, where equal scores count one half; `average_precision` is the sum of precision times the growth of recall.
    """

    recall: Array
    false_positives: Array
    precision: Array
    area: float
    average_precision: float


def ranking(scores: Array, is_positive: Array) -> Ranking | None:
    """The curves of scores [sample]; None unless there are positive and negative samples.

    Samples with equal scores are one threshold (Fawcett 2006, An introduction to ROC analysis).
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(is_positive[order], dtype=np.int64)[ends]
    recall = np.concatenate([[0.0], hits / positives])
    false_positives = np.concatenate([[0.0], (ends + 1 - hits) / negatives])
    precision = np.concatenate([[1.0], hits / (ends + 1)])
    area = float(np.trapezoid(recall, false_positives))
    return Ranking(recall, false_positives, precision, area, float((np.diff(recall) * precision[1:]).sum()))
