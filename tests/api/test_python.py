"""`import netc`: its names, and how the objects that it gives print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

import netc

SHORT = 300  # characters
NUMBERS = "model {\n  input x: float[4]\n  target y: float\n  z = x -> dense(2) -> dense(1) -> squeeze\n"
NUMBERS += "  output value = z\n  loss mse(z, y)\n}\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> netc.Run:
    model = netc.load(ROOT / "examples" / "iris.net")
    return netc.train(model, out=tmp_path_factory.mktemp("runs") / "iris", epochs=2)


def test_the_module_has_public_names_alone() -> None:
    assert {*netc.__all__, "Classifier", "Regressor", "__version__"} == {*dir(netc)}
    assert not [name for name in dir(netc) if name.startswith("_") and name != "__version__"]
    assert all(getattr(netc, name) is not None for name in dir(netc))
    with pytest.raises(AttributeError, match="nothing"):
        _ = netc.nothing  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert netc.__version__ == version("netc")


def test_a_model_prints_its_name_its_fields_and_its_size() -> None:
    assert repr(netc.parse(NUMBERS)) == "<Model 'model.net': x: float[4] -> value: float, 13 parameters>"


def test_a_run_prints_its_folder_and_its_last_metrics(run: netc.Run) -> None:
    text = repr(run)
    assert text.startswith(f"<Run {str(run.folder)!r} of ")
    assert "2 epochs, train.loss " in text
    assert "valid.accuracy " in text
    assert repr(run.metrics) == f"<Metrics: {text.partition(': ')[2]}"


def test_predictions_print_as_labels_and_shapes(run: netc.Run) -> None:
    row = {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2}
    predictions = run.predict([row] * 5)
    label = repr(predictions["species"][0])
    expected = f"species {label}, {label}, {label}, ...; probability float32[5, 3]"
    assert repr(predictions) == f"<Predictions of 5 samples: {expected}>"


def test_parameters_print_as_types_and_shapes(run: netc.Run) -> None:
    text = repr(run.program.parameters)
    assert text.startswith("{'logits.dense.W': float32[4, 16], 'logits.dense.b': float32[16], ")
    assert run.program.parameters["logits.dense.b"].shape == (16,)


def test_nothing_that_a_user_gets_prints_long(run: netc.Run) -> None:
    """Not even a part of an object, but for arrays, whose printed form NumPy limits."""
    values = [run, run.model, run.program, run.metrics, run.load_data(), run.predict(_rows(200))]
    for value in values:
        assert len(repr(value)) <= SHORT, repr(value)[:1000]
        for name in dir(value):
            if not name.startswith("_") and name not in ("parts", "rows", "compiled", "graph"):
                text = repr(getattr(value, name))
                assert len(text) <= 10 * SHORT, f"{type(value).__name__}.{name}: {text[:1000]}"
    for example in sorted((ROOT / "examples").glob("*.net")):
        if "auto" not in example.read_text(encoding="utf-8"):
            assert len(repr(netc.load(example))) <= SHORT


def _rows(count: int) -> list[dict[str, float]]:
    names = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")
    return [dict.fromkeys(names, number / 10) for number in range(count)]


def test_netc_is_imported_without_optional_packages(tmp_path: Path) -> None:
    """Neither scikit-learn nor IPython nor pandas is needed for `import netc`, or imported by it."""
    script = """
import sys
for name in ("sklearn", "IPython", "pandas"):
    sys.modules[name] = None  # importing it raises ImportError
import netc
model = netc.parse("model {\\n  input x: float\\n  output y = 2 * x\\n}\\n")
assert netc.compile(model).predict({"x": [1.0]})["y"] == 2
assert "numpy" not in dir(netc)
assert "Classifier" not in dir(netc)
try:
    netc.Classifier
except ImportError as error:
    assert 'pip install "netc[sklearn]"' in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_a_run_is_opened_with_the_constants_of_its_model(tmp_path: Path) -> None:
    """And with the settings of `train` that were replaced."""
    model = netc.load(ROOT / "examples" / "rings.net", bent=False, batch=16)
    run = netc.train(model, out=tmp_path / "run", epochs=1, threads=1)
    opened, points = netc.open(run.folder), [{"x": 0.3, "y": 0.5}]
    assert (opened.predict(points)["probability"] == run.predict(points)["probability"]).all()
    assert opened.model.constants["bent"] is False
    assert opened.model.train.batch == 16


USER_SCRIPT = """
import numpy as np

import netc
from netc.extend import apply, elementwise
from netc.testing import check

model: netc.Model = netc.load("examples/iris.net", width=8)
losses: list[float] = []


def note(row: dict[str, float | list[object]]) -> None:
    loss = row["valid.loss"]
    assert isinstance(loss, float)
    losses.append(loss)


run = netc.train(model, out="runs/iris", epochs=2, on_epoch=note, progress=False, log=["csv"])
reveal_type(run)
reveal_type(run.evaluate("test"))
predictions = run.predict({"a": [1.0]}, strict=True)
reveal_type(predictions)
reveal_type(predictions.columns())
program = netc.compile(model, seed=1, backend="reference", machine="avx2")
reveal_type(program.parameters["W"])
program.parameters["W"][...] = np.zeros(3)
classifier = netc.Classifier(hidden_layer_sizes=(8,), random_state=0).fit(np.zeros((3, 2)), [0, 1, 1])
reveal_type(classifier)
reveal_type(classifier.predict_proba([[1.0, 2.0]]))
reveal_type(netc.Regressor(loss="huber").fit([[1.0]], [2.0]).predict([[3.0]]))
try:
    netc.parse("")
except netc.Fault as fault:
    reveal_type(fault.diagnostics)
reveal_type(netc.__version__)
double = elementwise("double", "2 x", scalar="2 * x", reference=lambda x: 2 * x, gradient=lambda g, r, x: 2 * g)
netc.register(double)
check(double)
netc.train(model, epochs="many")
netc.Classifier(dropouts=0.1)
netc.trian(model)
"""
# Packages that no public name has a type of. Without this, mypy reads polars for 20 seconds.
MYPY = """[mypy]
[mypy-polars.*,networkx.*,sklearn.*,scipy.*,pandas.*,optuna.*,PIL.*,llvmlite.*,lark.*,onnx.*,mlflow.*,IPython.*]
follow_imports = skip
"""


def test_the_types_of_a_script_are_checked(tmp_path: Path) -> None:
    """In strict mode: every name has its type, and three wrong calls at the end are found."""
    (tmp_path / "script.py").write_text(USER_SCRIPT, encoding="utf-8")
    cache = f"{os.environ['NETC_CACHE']}-mypy"  # that of earlier tests saves some seconds
    (tmp_path / "mypy.ini").write_text(MYPY, encoding="utf-8")
    options = ["--strict", "--no-error-summary", "--cache-dir", cache, "--follow-imports", "silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    types = [line.partition('Revealed type is "')[2].rstrip('"') for line in lines if "Revealed type" in line]
    errors = [line for line in lines if ": error: " in line]
    assert [text.replace("builtins.", "") for text in types] == [
        "netc.runtime.runs.run.Run",
        "dict[str, float | list[Any]]",
        "netc.runtime.prediction_table.Predictions",
        "dict[str, list[Any]]",
        "numpy.ndarray[Any, Any]",
        "netc.estimators.estimators.Classifier",
        "numpy.ndarray[Any, Any]",
        "numpy.ndarray[Any, Any]",
        "tuple[netc.dsl.diagnostics.Diagnostic, ...]",
        "str",
    ]
    assert len(errors) == 3, errors
    assert all(word in error for word, error in zip(("epochs", "dropouts", "trian"), errors, strict=True))
