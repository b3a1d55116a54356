"""`netc.Classifier` and `netc.Regressor` behave as scikit-learn asks of estimators, and as the text that they write."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, load_iris  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

X, Y = load_iris(return_X_y=True)
NET = """let features = 1
let classes = 2
let width = 16

model {
  input measures: float[features]
  target species: class(classes)
  target sample_weight: float

  logits = measures -> dense(width) -> tanh -> dense(classes)
  output chance = softmax(logits)
  loss weighted(cross_entropy(logits, species), sample_weight)
}

train {
  optimizer = adam(lr = 0.05)
  epochs = 20
  precision = f64
}
"""
CHECKS = """
import netc
from sklearn.utils.estimator_checks import check_estimator
results = check_estimator(netc.NAME(), on_fail=None, on_skip=None)
assert len(results) > 50
for result in results:
    if result["status"] != "passed":
        print(result["check_name"], result["status"], result["exception"])
"""


@pytest.mark.parametrize("name", ["Classifier", "Regressor"])
def test_every_check_of_scikit_learn_passes(name: str, tmp_path: Path) -> None:
    """None is expected to fail, and none is skipped: without this variable, one would be."""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", CHECKS.replace("NAME", name)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_it_works_in_pipelines_searches_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), netc.Classifier(max_iter=60, learning_rate=0.01, random_state=0))
    assert cross_val_score(pipeline, X, Y, cv=3).min() > 0.9
    grid = {"hidden_layer_sizes": [(), 8, (8, 8)], "activation": ["relu", "tanh"]}
    search = GridSearchCV(netc.Classifier(max_iter=40, learning_rate=0.02, random_state=0), grid, cv=3).fit(X, Y)
    assert search.best_score_ > 0.9
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_the_names_of_their_columns(library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    labels = frames.Series(np.array(["setosa", "versicolor", "virginica"])[Y].tolist())
    model = netc.Classifier(max_iter=60, learning_rate=0.01, random_state=0).fit(frame, labels)
    assert model.feature_names_in_.tolist() == names
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.score(frame, labels) > 0.9
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[names[::-1]])
    assert netc.Regressor(max_iter=5, random_state=0).fit(frame, frame["petal width"]).predict(frame).shape == (150,)


def test_copies_and_pickles_predict_the_same() -> None:
    model = netc.Classifier((8,), max_iter=10, random_state=0).fit(X, Y)
    expected = model.predict_proba(X)
    assert (pickle.loads(pickle.dumps(model)).predict_proba(X) == expected).all()
    again = clone(model)
    with pytest.raises(NotFittedError):
        again.predict(X)
    assert (again.fit(X, Y).predict_proba(X) == expected).all()


def test_several_threads_may_fit_and_predict() -> None:
    def fitted(seed: int) -> Any:
        model = netc.Classifier((8,), max_iter=5, random_state=seed).fit(X, Y)
        return model.predict_proba(X)

    alone = [fitted(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(fitted, range(4)))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_the_text_that_it_trained_is_a_model() -> None:
    model = netc.Classifier((8, 4), "tanh", dropout=0.1, weight_decay=0.01, max_iter=3, random_state=0).fit(X, Y)
    assert "h = x -> dense(8) -> tanh -> dropout(0.1) -> dense(4) -> tanh -> dropout(0.1)" in model.net_
    assert "optimizer = adam(lr = 0.001, decay = 0.01)" in model.net_
    program = netc.compile(netc.parse(model.net_))
    for name, array in model.parameters_.items():
        program.parameters[name][...] = array
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    assert np.allclose(program.predict({"x": scaled})["probability"], model.predict_proba(X), rtol=1e-12)
    assert len(model.metrics_) == model.n_iter_ == 3
    assert model.loss_ == model.metrics_[-1]["train.loss"]


def test_early_stopping_keeps_the_best_epoch() -> None:
    model = netc.Classifier(
        early_stopping=True, n_iter_no_change=2, learning_rate=0.1, max_iter=300, random_state=0
    ).fit(X, Y)
    losses = [row["valid.loss"] for row in model.metrics_]
    assert model.n_iter_ == len(losses) < 300
    assert model.loss_ == model.metrics_[int(np.argmin(losses))]["train.loss"]


def test_a_text_is_trained_as_it_is(tmp_path: Path) -> None:
    """Its constants `features` and `classes` come from the data, others from the user."""
    (tmp_path / "iris.net").write_text(NET, encoding="utf-8")
    model = netc.Classifier(net=NET, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert model.n_iter_ == 20
    of_file = netc.Classifier(net=tmp_path / "iris.net", constants={"width": 16}, random_state=0).fit(X, Y)
    assert (of_file.predict_proba(X) == model.predict_proba(X)).all()
    narrow = netc.Classifier(net=NET, constants={"width": 2}, random_state=0).fit(X, Y)
    assert narrow.parameters_["logits.dense.W"].shape == (4, 2)
    weights = np.where(Y == 0, 0.0, 1.0)
    without = netc.Classifier(net=NET, random_state=0).fit(X, Y, sample_weight=weights)
    assert without.predict_proba(X)[:, 0].mean() < 0.34


def test_an_input_of_the_net_has_its_own_shape() -> None:
    digits, labels = load_digits(return_X_y=True)
    net = """model {
  input image: float[8, 8, 1]
  target digit: class(10)
  logits = image -> conv(4) -> relu -> flatten -> dense(10)
  output chance = softmax(logits)
  loss cross_entropy(logits, digit)
}

train {
  epochs = 5
  optimizer = adam(lr = 0.01)
}
"""
    model = netc.Classifier(net=net, random_state=0).fit(digits[:500], labels[:500])
    assert model.score(digits[:500], labels[:500]) > 0.9


def test_a_regressor_predicts_in_the_units_of_the_data() -> None:
    target = 1000 * X[:, 3] + 5
    model = netc.Regressor(learning_rate=0.01, random_state=0).fit(X[:, :3], target)
    assert model.score(X[:, :3], target) > 0.9
    both = netc.Regressor(learning_rate=0.01, random_state=0).fit(X[:, :2], np.c_[X[:, 2:], target])
    assert both.predict(X[:, :2]).shape == (150, 3)
    exact = netc.Regressor((), optimizer="lbfgs", max_iter=50, random_state=0).fit(X[:, :3], target)
    design = np.c_[X[:, :3], np.ones(150)]
    expected = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    assert np.allclose(exact.predict(X[:, :3]), expected, rtol=1e-5), "least squares"


def test_weights_of_samples_count_for_several_numbers_too() -> None:
    target = np.c_[X[:, 3], X[:, 2]]
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    setting = {"hidden_layer_sizes": (4,), "batch_size": 500, "max_iter": 20, "random_state": 0}
    weighted = netc.Regressor(**setting).fit(X[:, :2], target, sample_weight=counts)
    repeated = netc.Regressor(**setting).fit(np.repeat(X[:, :2], counts, axis=0), np.repeat(target, counts, axis=0))
    assert np.allclose(weighted.predict(X[:, :2]), repeated.predict(X[:, :2]), rtol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "relu -> dense(3)"}, "not a word of the language"),
        ({"optimizer": "adam(lr = 1)"}, "not a word of the language"),
        ({"hidden_layer_sizes": (8, 0)}, "without units"),
        ({"dropout": 1.0}, "between 0 and 1"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"optimizer": "lbfgs", "weight_decay": 0.1}, "no weight decay"),
        ({"constants": {"width": 3}}, "there is none"),
        ({"net": NET.replace("[features]", "[3]")}, "X has 4 columns"),
        ({"net": NET.replace("  target sample_weight: float\n", "  target y: float\n")}, "2 targets"),
    ],
)
def test_wrong_parameters_are_value_errors(parameters: dict[str, Any], message: str) -> None:
    if "y: float" in str(parameters.get("net", "")):
        parameters = {"net": parameters["net"].replace("sample_weight)", "y)")}
    with pytest.raises(ValueError, match=message):
        netc.Classifier(**parameters).fit(X, Y)


def test_a_word_that_the_language_lacks_gives_its_message() -> None:
    with pytest.raises(netc.Fault, match="did you mean `relu`"):
        netc.Classifier(activation="relo").fit(X, Y)


def test_trainings_of_one_shape_share_a_program() -> None:
    """A search of learning rates, seeds, epochs and folds compiles once."""
    from netc.estimators.networks import _POOL

    before = {id(program) for *_, program in _POOL._idle}
    for seed in range(3):
        rows = slice(0, 150 - seed)
        netc.Classifier((7,), learning_rate=0.01 * (seed + 1), max_iter=2 + seed, random_state=seed).fit(
            X[rows], Y[rows]
        )
    new = {id(program) for *_, program in _POOL._idle} - before
    assert len(new) == 1


def test_a_prediction_draws_no_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimators of one shape share a program, and each gives it its own parameters."""
    first, second = (
        netc.Classifier(hidden_layer_sizes=(5,), max_iter=2, random_state=seed).fit(X, Y) for seed in range(2)
    )
    expected = [first.predict_proba(X).tobytes(), second.predict_proba(X).tobytes()]

    def refused(*_: object) -> None:
        raise AssertionError("a prediction drew initial parameters")

    monkeypatch.setattr("netc.runtime.execution.compiled_model.initial", refused)
    assert [model.predict_proba(X).tobytes() for model in (first, second, first, second)] == expected * 2
