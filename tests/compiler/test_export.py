"""Exported files compute what the run computes.

Each operation is exported to Python and ONNX, and each example with one sample and with many, short and long.
"""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from both import BATCH, evaluate, examples, graph_of, random_array
from support import ROOT, command

import netc
from netc import extend
from netc.compiler.analysis.outline import outline_of
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.export.onnx_file import onnx_file
from netc.compiler.ir.forms import SplitMetric
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import parse_type
from netc.compiler.ir.value import OPERATIONS
from netc.dsl.diagnostics import Fault
from netc.runtime.data.block.spec import array_spec, parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.tables.cells import Location
from netc.runtime.export.check import checked
from netc.runtime.export.exported import as_onnx, as_python, exported
from netc.runtime.export.samples import from_padded, padded, samples_of
from netc.runtime.insight import report
from netc.runtime.insight.drawing import page as drawing
from netc.runtime.insight.drawing.figure import picture
from netc.runtime.program import Program
from netc.runtime.runs.run import Run

EXAMPLES = ROOT / "examples"
RANDOM = ("scramble", "unit", "uniform_like", "normal_like", "dropout")


def python_of(text: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), namespace)
    return namespace["predict"]


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(session: onnxruntime.InferenceSession, fields: dict[str, Any]) -> dict[str, Any]:
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, fields), strict=True))


def case_of(name: str, types: tuple[str, ...], attributes: dict[str, Any]) -> tuple[Exported, dict[str, Any], Any]:
    """One operation as an exported model, with its inputs and the results of the reference.

    Operands with a batch are inputs, and the others are parameters.
    """
    graph, leaves, *results = graph_of(OPERATIONS[name], types, attributes, "f32")
    rng = np.random.default_rng(2)
    arrays = {leaf.name: random_array(leaf.type, rng, OPERATIONS[name].domain) for leaf in leaves}
    inputs = {leaf.name: leaf.type for leaf in leaves if leaf.type.is_batched}
    copied_graph = Graph()  # the same graph with inputs and parameters as leaves
    copies = {}
    for value in graph.values():
        kind = value.operation
        if value in leaves:
            kind = "input" if value.type.is_batched else "parameter"
        copies[value] = copied_graph.add(
            kind, [copies[operand] for operand in value.operands], value.attributes, value.type
        )
    if not inputs:  # an exported file needs an input to predict for
        inputs["samples"] = copied_graph.leaf(Role.INPUT, "samples", parse_type("f32[batch, 1]")).type
        copied_graph.results[parse_result("output.same")] = copied_graph.values(Role.INPUT)[0]
        arrays["samples"] = np.zeros((BATCH, 1), np.float32)
    copied_graph.results |= {parse_result(f"output.y{i}"): copies[result] for i, result in enumerate(results)}
    expected = evaluate(graph_with(graph, results), arrays, BATCH)
    outputs = {key: output.type for key, output in copied_graph.results_of(ResultKind.OUTPUT).items()}
    exported_case = Exported(name, exportable(copied_graph), inputs, outputs, arrays, {}, {})
    return exported_case, {key: arrays[key] for key in inputs}, expected


def graph_with(graph: Graph, results: list[Any]) -> Graph:
    graph.results = {parse_result(f"y{i}"): result for i, result in enumerate(results)}
    return graph


TRAINING = ("first_equal", "sum_at", "put")  # only updates are made of these, and no file is exported of an update
CASES = [
    (name, types, attributes)
    for name, _, types, attributes in examples()
    if not isinstance(OPERATIONS[name].lower, SplitMetric) and name not in TRAINING
]


@pytest.mark.parametrize(("name", "types", "attributes"), CASES)
def test_an_operation_in_an_exported_python_file(name: str, types: tuple[str, ...], attributes: dict[str, Any]) -> None:
    exported_case, fields, expected = case_of(name, types, attributes)
    results = python_of(numpy_file(exported_case, lambda stream: np.array([1, 2], np.int32)))(**fields)
    for key, value in expected.items():
        np.testing.assert_allclose(results[key], value, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("name", "types", "attributes"), [case for case in CASES if case[0] not in RANDOM])
def test_an_operation_in_an_exported_onnx_file(name: str, types: tuple[str, ...], attributes: dict[str, Any]) -> None:
    if attributes.get("dtype") == "f64" or "f64" in str(attributes):
        pytest.skip("onnxruntime has few kernels for doubles")
    exported_case, fields, expected = case_of(name, types, attributes)
    results = answers(session_of(onnx_file(exported_case)), fields)
    for key, value in expected.items():
        np.testing.assert_allclose(results[key], value, rtol=2e-5, atol=2e-5)


@pytest.mark.every(2)
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.net")), ids=lambda path: path.stem)
def test_an_exported_example_gives_the_same_predictions(path: Path, tmp_path: Path) -> None:
    """For one sample and for seventeen, of at most 9 and at most 23 steps: by the run, by Python and by onnxruntime."""
    run = untrained(path, tmp_path)
    steps = [float(np.max(back(np.ones(1)) - back(np.zeros(1)))) for back in run.undone().values()]
    unit = max([1.0, *steps])  # how much a 1 of the model is in the units of the target
    asked = exported(run)
    python, session = python_of(as_python(run, asked)), session_of(as_onnx(asked))
    for count, longest in ((1, 9), (17, 9), (1, 23), (17, 23)):
        raw, prepared = samples_of(run, asked.inputs, count, count, longest)
        expected, fields = run.predict_prepared(prepared), padded(asked, raw)
        for predicted in (python(*raw.values()), from_padded(answers(session, fields), asked, fields)):
            assert list(predicted) == list(expected)
            for name, value in expected.items():
                for left, right in zip(predicted[name], value, strict=True):
                    np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5 * unit)


def untrained(path: Path, folder: Path) -> Run:
    """A run whose data steps are fitted and whose parameters are initial values."""
    model = netc.load(path)
    program, spec = Program(model, backend="reference"), parse_data(model)
    data = load(model, spec)
    program.fit(data.parts["train"])
    return Run(folder, model, spec, data.states, program, dataset=data)


def test_a_recurrent_layer_is_exported_as_that_of_onnx(tmp_path: Path) -> None:
    """The equations decide, not the name in the file. A layer that ONNX lacks becomes a Scan."""

    def kinds(layer: str, more: str = "") -> list[str]:
        run = of_text(f"{more}\nmodel {{\n  input x: float[time, 3]\n  output y = last({layer})\n}}\n", tmp_path)
        graph = onnx.load_from_string(as_onnx(exported(run))).graph
        read = {name for node in graph.node for name in node.input}
        if all(node.op_type != "Scan" for node in graph.node):
            assert {tensor.name for tensor in graph.initializer} <= read, "weights that nothing reads"
        return [node.op_type for node in graph.node]

    assert "LSTM" in kinds("lstm(x, 4)[0]")
    assert "Scan" not in kinds("lstm(x, 4)[0]")
    assert "GRU" in kinds("gru(x, 4)")
    assert "RNN" in kinds("rnn(x, 4)")
    assert kinds("x -> bidirectional(gru(4))").count("GRU") == 2
    assert "Scan" in kinds("lstm_peephole(x, 4)[0]")
    mine = """block mine(x: float[t, n], units) {
  param A: float[n, units] = glorot_uniform
  param B: float[units, units] = orthogonal
  param c: float[units] = zeros
  states = scan one in x with state = zeros(units) {
    state = tanh(one @ A + state @ B + c)
    yield state
  }
  return states
}
"""
    assert "RNN" in kinds("mine(x, 4)", mine)


def of_text(text: str, folder: Path) -> Run:
    """A run of a model that has no data block."""
    model = netc.parse(text)
    program = Program(model, backend="reference")
    return Run(folder, model, array_spec(model), {name: [] for name in model.inputs}, program)


def test_products_of_bf16_are_exported_as_such(tmp_path: Path) -> None:
    """Both files round the operands of products as the run does."""
    body = "model {\n  input x: float[6, 6, 3]\n  output y = x -> conv(4) -> relu -> flatten\n}\n"
    wide, narrow = (of_text(f"{body}train {{ precision = {name} }}\n", tmp_path) for name in ("f32", "bf16"))
    x = np.random.default_rng(0).standard_normal((5, 6, 6, 3)).astype(np.float32)
    expected = narrow.predict_prepared({"x": x})["y"]
    in_python = python_of(as_python(narrow, exported(narrow)))(x)["y"]
    in_onnx = answers(session_of(as_onnx(exported(narrow))), {"x": x})["y"]
    for actual in (in_python, in_onnx):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(wide.predict_prepared({"x": x})["y"] - expected).max() > 1e-3


def test_random_values_are_exported_to_python_only(tmp_path: Path) -> None:
    run = of_text("model {\n  input x: float[3]\n  output y = x + normal_like(x)\n}\n", tmp_path)
    with pytest.raises(Fault) as raised:
        as_onnx(exported(run))
    assert (
        str(raised.value)
        == """error[E1201]: random numbers cannot be exported as ONNX
 --> model.net:3:18
  |
3 |   output y = x + normal_like(x)
  |                  ^^^^^^^^^^^^^^ what is drawn anew has no place in a file that is the same each time
  = hint: netc export RUN -o model.py"""
    )
    x = np.zeros((4, 3), np.float32)
    np.testing.assert_allclose(
        python_of(as_python(run, exported(run)))(x)["y"], run.predict_prepared({"x": x})["y"], rtol=1e-5
    )


def test_a_missing_onnx_package_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "netc.compiler.export.onnx_file", None)
    with pytest.raises(Fault, match=r"E1202.*`onnx` is not installed[\s\S]*pip install"):
        as_onnx(exported(of_text("model {\n  input x: float[3]\n  output y = x\n}\n", tmp_path)))


def test_the_export_command(tmp_path: Path) -> None:
    """Another process, without netc, computes predictions in the data's units from raw numbers."""
    train = command("train", ROOT / "examples" / "cars.net", "--epochs", "2", cwd=tmp_path)
    assert train.returncode == 0, train.stderr
    for name in ("cars.onnx", "cars.py"):
        done = command("export", "runs/cars", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(
            rf"{name}: [\d,]+ bytes, checked on 17 synthetic samples: at most \S+ from .*\n", done.stdout
        )
    text = (tmp_path / "cars.py").read_text(encoding="utf-8")
    assert "netc" not in text.partition("import base64")[2]
    wrong = command("export", "runs/cars", "-o", "cars.txt", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "does not end in .onnx or .py" in wrong.stderr
    unknown = command("export", "runs/cars", "-o", "cars.py", "--output", "nobody", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "no value `nobody`" in " ".join(unknown.stderr.split())


IMPORTING = """import "unit.net"
data {
  source = csv("d.csv")
  x = columns("a", "b") -> standardize
  y = column("c") -> standardize
  split = (train = 0.5, test = 0.5)
}
model {
  input x: float[2]
  target y: float
  z = x -> unit -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}
"""


def test_files_name_no_folder_of_the_user(tmp_path: Path) -> None:
    """The same model in a folder called `netc` and in one with a blank and an umlaut gives the same bytes.

    Neither path is in them.
    """
    files: list[list[bytes]] = []
    for name in ("netc", "größe und form"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.net").write_text(IMPORTING, encoding="utf-8")
        (folder / "unit.net").write_text(
            "block unit(x: float[n]) {\n  return x -> dense(3) -> tanh\n}\n", encoding="utf-8"
        )
        (folder / "d.csv").write_text(
            "a,b,c\n" + "".join(f"{i},{i % 3},{i % 5}\n" for i in range(20)), encoding="utf-8"
        )
        run = untrained(folder / "m.net", folder / "run")
        outline = outline_of(run.model)
        python = as_python(run, exported(run))
        assert "# m.net:11  z = x -> unit -> dense(1) -> squeeze\n" in python
        files.append(
            [
                python.encode(),
                as_onnx(exported(run)),
                drawing.page(outline, run.model, 3).encode(),
                picture(outline, run.model, "svg", 3),
            ]
        )
        for written in (*files[-1], report.page(run).encode()):  # a report also contains its date
            assert str(tmp_path).encode() not in written
            assert b"netc/" not in written
    assert files[0] == files[1]


def test_a_part_of_a_model_is_exported(tmp_path: Path) -> None:
    run = of_text(
        "model {\n  input x: float[3]\n  code = x -> dense(2) -> tanh\n  output y = code -> dense(3)\n}\n", tmp_path
    )
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    code = python_of(as_python(run, exported(run, ["code"])))(x)["code"]
    np.testing.assert_allclose(code, run.predict_prepared({"x": x}, outputs=["code"])["code"], rtol=1e-5)
    predicted = answers(session_of(as_onnx(exported(run, None, ["code"]))), {"code": code})
    np.testing.assert_allclose(predicted["y"], run.predict_prepared({"x": x})["y"], rtol=1e-4, atol=1e-6)


def test_operations_of_a_plugin_are_exported() -> None:
    """A reduction by a function of two numbers is written out, and a custom kernel is copied as it is."""
    product = extend.Operation(
        "product_of",
        "The product over axes.",
        type=lambda x, over: x.with_dims(tuple(dim for axis, dim in enumerate(x.dims) if axis not in over)),
        reference=lambda x, over: np.prod(x, axis=over),
        lower=extend.Fold("1", "a * b"),
        examples=((("f64[batch, 4, 3]",), {"over": (1,)}), (("f64[batch, 4]",), {"over": (1,)})),
    )
    longest = extend.Operation(
        "farthest",
        "The largest distance from the first element.",
        type=lambda x: x.with_dims(x.dims[:-1]),
        reference=lambda x: np.abs(x - x[..., :1]).max(-1),
        lower=extend.Own(_farthest),
        examples=((("f64[batch, 4]",), {}),),
    )
    for operation in (product, longest):
        OPERATIONS[operation.name] = operation
        try:
            for types, attributes in operation.examples:
                exported_case, fields, expected = case_of(operation.name, types, attributes)
                results = python_of(numpy_file(exported_case, lambda stream: np.zeros(2, np.int32)))(**fields)
                np.testing.assert_allclose(results["y0"], expected["y0"], rtol=1e-5)
                if operation is product:
                    results = answers(session_of(onnx_file(exported_case)), fields)
                    np.testing.assert_allclose(results["y0"], expected["y0"], rtol=1e-5)
                else:
                    with pytest.raises(Fault, match="ONNX has no operation that it is made of"):
                        onnx_file(exported_case)
        finally:
            del OPERATIONS[operation.name]


def _farthest(out, x):
    out[()] = 0.0
    for i in range(len(x)):
        out[()] = max(out[()], abs(x[i] - x[0]))


@pytest.mark.parametrize(
    "expression",
    [
        "mean(x -> conv(4, kernel = 3, stride = 2))",
        "x -> conv(4, kernel = 3, pad = same)",
        "x -> maxpool(2)",
        "mean(x[1:])",
        "x[-2:]",
        "concat(x, reverse(x), over = time)",
        "shift(x) + x",
        "cumsum(x, over = time)",
        "softmax(x, over = time)",
        "norm(x, over = time) + variance(x)",
        "max(x, over = time)",
        "attention(x, x, x, heads = 3, causal = true)",
        "x -> layernorm -> bidirectional(gru(4))",
        "x -> lstm_layernorm(4)",
        "x[0] + last(x)",
        "where(x > 0, x, 0) * size_of_steps(x)",
        "x @ transpose(x)",
    ],
)
def test_operations_along_steps_are_exported(expression: str, tmp_path: Path) -> None:
    """For one sample and for several, of equal and of different lengths."""
    more = (
        "block size_of_steps(x: float[t, n]) { return sum(x * 0 + 1, over = t) }\n" if "size_of" in expression else ""
    )
    run = of_text(f"{more}model {{\n  input x: float[time <= 9, 3]\n  output y = {expression}\n}}\n", tmp_path)
    asked = exported(run)
    python, session = python_of(as_python(run, asked)), session_of(as_onnx(asked))
    rng = np.random.default_rng(0)
    for lengths in ((5,), (4, 4), (3, 9, 5, 4)):
        x = [rng.standard_normal((n, 3)).astype(np.float32) for n in lengths]
        expected, fields = run.predict_prepared({"x": x})["y"], padded(asked, {"x": x})
        for predicted in (python(x), from_padded(answers(session, fields), asked, fields)):
            for left, right in zip(predicted["y"], expected, strict=True):
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=2e-6)


def test_a_model_with_two_varying_dimensions_is_exported(tmp_path: Path) -> None:
    text = (
        "model {\n  input x: float[source <= 7, 3]\n  input y: float[target <= 8, 3]\n"
        "  output z = attention(y, x, x)\n}\n"
    )
    run = of_text(text, tmp_path)
    asked = exported(run)
    python, session = python_of(as_python(run, asked)), session_of(as_onnx(asked))
    rng = np.random.default_rng(0)
    x, y = ([rng.standard_normal((n, 3)).astype(np.float32) for n in some] for some in ((3, 7, 2), (8, 1, 4)))
    expected, fields = run.predict_prepared({"x": x, "y": y})["z"], padded(asked, {"x": x, "y": y})
    assert [model_input.name for model_input in session.get_inputs()] == ["x", "y", "length.source", "length.target"]
    for predicted in (python(x, y), from_padded(answers(session, fields), asked, fields)):
        for left, right in zip(predicted["z"], expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=2e-6)


def test_elements_beyond_a_sequence_have_no_effect(tmp_path: Path) -> None:
    run = of_text("model {\n  input x: float[time, 3]\n  output y = mean(x -> lstm(4))\n}\n", tmp_path)
    asked = exported(run)
    session = session_of(as_onnx(asked))
    rng = np.random.default_rng(0)
    fields = padded(asked, {"x": [rng.standard_normal((n, 3)).astype(np.float32) for n in (2, 6)]})
    expected = answers(session, fields)["y"]
    fields["x"][0, 2:] = 1e9
    np.testing.assert_array_equal(answers(session, fields)["y"], expected)


@pytest.mark.parametrize("expression", ["x -> gelu -> dense(3) -> softmax", "last(lstm(x, 4)[0])", "gru(x, 4)"])
def test_an_export_in_double_precision(expression: str, tmp_path: Path) -> None:
    """onnxruntime lacks some operations for doubles, which are replaced by others."""
    text = f"model {{\n  input x: float[time, 3]\n  output y = {expression}\n}}\ntrain {{ precision = f64 }}\n"
    run = of_text(text, tmp_path)
    path = tmp_path / "model.onnx"
    asked = exported(run)
    path.write_bytes(as_onnx(asked))
    message = checked(run, asked, path).text
    assert float(re.search(r"at most (\S+) from", message)[1]) < 1e-6, message


@pytest.mark.parametrize(
    "pipe", ["standardize", "minmax", "log -> standardize", "scale(0.5) -> clip(0, 4)", "log -> scale(3)"]
)
def test_steps_of_the_data_are_in_the_file(pipe: str, tmp_path: Path) -> None:
    """The file takes raw numbers and answers in the target's units, as the run does with its data steps."""
    rows = [f"{i + 1},{(i % 7) + 0.5},{3 * i + 2}" for i in range(40)]
    (tmp_path / "d.csv").write_text("a,b,c\n" + "\n".join(rows), encoding="utf-8")
    undone = pipe.replace(" -> clip(0, 4)", "")  # clipped values are not restored
    (tmp_path / "m.net").write_text(
        f"""data {{
  source = csv("d.csv")
  x = columns("a", "b") -> {pipe}
  y = column("c") -> {undone}
  split = (train = 1.0)
}}
model {{
  input x: float[2]
  target y: float
  z = x -> dense(3) -> tanh -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}}
""",
        encoding="utf-8",
    )
    run = untrained(tmp_path / "m.net", tmp_path)
    asked = exported(run)
    raw = np.array([[i + 1, (i % 7) + 0.5] for i in range(40)])
    expected = run.predict_prepared({"x": prepared_by(run, raw)})["z"]
    for predicted in (python_of(as_python(run, asked))(raw), answers(session_of(as_onnx(asked)), {"x": raw})):
        np.testing.assert_allclose(predicted["z"], expected, rtol=1e-5, atol=1e-5)


def prepared_by(run: Run, raw: np.ndarray) -> np.ndarray:
    """A table after the fitted data steps of the run, as a prediction on new data uses it."""
    values: Any = raw.astype(np.float64)
    for step, state in zip(run.spec.fields["x"].steps, run.states["x"], strict=True):
        values = STEPS[step.name].apply(values, state, Location("", ("a", "b"), np.arange(len(raw)), step.span))
    return np.asarray(values, np.float32)
