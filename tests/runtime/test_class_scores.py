"""The numbers behind the plots of a report's classes and residuals, compared with scikit-learn and with counts."""

import re

import numpy as np
import pytest
from sklearn import metrics

from netc.runtime.insight.classes import class_sections, scores_of
from netc.runtime.insight.pages import section_html
from netc.runtime.insight.ranking import ranking
from netc.runtime.insight.residuals import residual_sections
from netc.runtime.predictions import TargetPrediction


def prediction(classes: int, count: int, decimals: int, seed: int = 0) -> TargetPrediction:
    """Predictions of random probabilities, with many equal ones if these have few decimals."""
    rng = np.random.default_rng(seed)
    true, chances = rng.integers(0, classes, count), rng.random((count, classes))
    chances[np.arange(count), true] += 0.3
    chances = np.round(chances / chances.sum(axis=1, keepdims=True), decimals)
    predicted = chances.argmax(axis=1)
    error = 1 - chances[np.arange(count), true]
    labels = tuple(f"class <{i}>" for i in range(classes))
    return TargetPrediction("y", "p", labels, predicted, true, error, chances=chances)


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("count", [2, 3, 50, 700])
def test_curves_are_those_of_scikit_learn(count: int, decimals: int) -> None:
    rng = np.random.default_rng(count + decimals)
    is_positive = rng.random(count) < 0.3
    is_positive[:2] = True, False
    scores = np.round(rng.random(count) + 0.5 * is_positive, decimals)
    curves = ranking(scores, is_positive)
    assert curves is not None
    false_positives, recall, _ = metrics.roc_curve(is_positive, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curves.false_positives, false_positives)
    np.testing.assert_array_equal(curves.recall, recall)
    precision, recall, _ = metrics.precision_recall_curve(is_positive, scores)
    np.testing.assert_allclose(curves.precision, precision[::-1], rtol=1e-15)
    np.testing.assert_allclose(curves.recall, recall[::-1], rtol=1e-15)
    assert curves.area == pytest.approx(metrics.roc_auc_score(is_positive, scores), rel=1e-12)
    assert curves.average_precision == pytest.approx(metrics.average_precision_score(is_positive, scores), rel=1e-12)


@pytest.mark.parametrize("is_positive", [[True, True], [False, False]])
def test_one_class_alone_has_no_curve(is_positive: list[bool]) -> None:
    assert ranking(np.array([0.1, 0.2]), np.array(is_positive)) is None


@pytest.mark.parametrize("classes", [2, 5])
def test_the_scores_of_classes_are_those_of_scikit_learn(classes: int) -> None:
    target = prediction(classes, 200, 3)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(target.true, target.predicted)
    for i, score in enumerate(scores_of(target, range(classes))):
        assert (score.number, score.support) == (i, support[i])
        assert score.predicted == (target.predicted == i).sum()
        assert (score.precision, score.recall, score.f1) == pytest.approx((precision[i], recall[i], f1[i]), rel=1e-12)


def html(target: TargetPrediction) -> str:
    return "".join(section_html(section) for section in class_sections(target, "test"))


def test_curves_and_rows_of_a_class_have_one_key() -> None:
    page = html(prediction(3, 90, 3))
    for i in range(3):
        assert page.count(f'data-key="class {i}"') == 3, "two curves and a row"
    assert "class &lt;0&gt;" in page
    assert "class <0>" not in page
    assert (
        html(prediction(2, 90, 3)).count("<path class=") == 2 * 2 + html(prediction(2, 90, 3)).count('class="grid"') - 1
    )


def test_of_many_classes_those_with_the_lowest_f1_are_shown() -> None:
    target = prediction(1_000, 5_000, 6)
    page = html(target)
    assert len(page) < 200_000
    assert "100 of 1,000 classes are shown, those with the lowest F1." in page
    assert "The 8 classes with the lowest average precision are drawn." in page
    shown = [int(number) for number in re.findall(r'<tr data-key="class (\d+)"', page)]
    f1 = np.array([score.f1 for score in scores_of(target, range(1_000))])
    rest = np.delete(f1, shown)
    assert len(shown) == 100
    assert f1[shown].max() <= np.nanmin(rest)


def test_the_residuals_are_described() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=400)
    predicted = true - rng.normal(0.5, 0.1, 400)
    predicted[0] = np.nan
    target = TargetPrediction("y <&>", "z", (), predicted, true, np.abs(predicted - true))
    page = "".join(section_html(section) for section in residual_sections(target))
    residuals = (true - predicted)[1:]
    assert f"the mean {residuals.mean():.3g} and the standard deviation {residuals.std():.3g}" in page
    assert "1 predictions are not finite, and are not drawn." in page
    assert sum(int(count) for count in re.findall(r"<title>[^<:]+: (\d+)</title>", page)) == 399
    assert "y &lt;&amp;&gt;" in page
