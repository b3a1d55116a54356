"""Check `export`: the model as a NumPy file and as ONNX predicts what the reference interpreter does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.export.exportable import Exported, exportable
from netc.compiler.export.numpy_file import numpy_file
from netc.compiler.export.scalar import IN_SINGLE_PRECISION
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.dsl.diagnostics import Fault
from netc.runtime.data.stored import Ragged
from netc.runtime.export.exported import as_onnx
from netc.runtime.export.samples import from_padded, padded
from netc.runtime.inference.parts import fields_of
from netc.runtime.random import words
from netc.runtime.verification.backends import NoisyProgram
from netc.runtime.verification.comparison import Rounding, differences
from netc.runtime.verification.interpreter import Noise
from netc.runtime.verification.mixing import is_random, mixes_samples
from netc.runtime.verification.subject import Difference, Subject, move_parameters, ready_fields

_NAME = "export"


def check(subject: Subject) -> Iterator[Difference]:
    """Compares the predictions of both kinds of file.

    A kind that has no words for an operation (E1201), or whose package is not installed, is passed over.
    """
    model = subject.model
    if not model.outputs:
        return
    graph = pipeline.prediction_graph(model)
    inputs = fields_of(model, graph)
    if is_random(graph, graph.results) or mixes_samples(graph, graph.results) or not inputs:
        return
    program = NoisyProgram(model, subject.seed)
    move_parameters(model, program.persistent, subject.seed)
    fields = {
        name: list(field) if isinstance(field, Ragged) else field
        for name, field in ready_fields(model, subject.fields).items()
        if name in inputs
    }
    expected = program.predict(fields)
    outputs = graph.results_of(ResultKind.OUTPUT)
    types = {name: value.type for name, value in outputs.items()}
    exported = Exported("model", exportable(graph), inputs, types, dict(program.persistent), {}, {})

    def disturbed(noise: Noise) -> Mapping[str, Any]:
        program.noise = noise
        return program.predict(fields)

    for kind, run in (("the NumPy file", _numpy), ("the ONNX file", _onnx)):
        try:
            predicted = run(exported, {name: fields[name] for name in inputs}, subject.seed)
        except Fault as fault:
            if {diagnostic.code for diagnostic in fault.diagnostics} <= {"E1201", "E1202"}:
                continue
            raise
        if predicted is None:
            continue
        actual = {name: predicted[name] for name in expected}
        for name, detail in differences(actual, expected, Rounding(disturbed)):
            yield Difference(_NAME, f"{kind}: output.{name}", outputs[name].span, detail)


def _numpy(exported: Exported, fields: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The predictions of the NumPy file.

    Its text runs here, in netc's own process: names and comments in it are quoted (dsl/quoting.py), so that it holds
    nothing but our own arithmetic and kernels of loaded packages. What lies in a file is run only by separate.py.
    """
    space: dict[str, Any] = {}
    text = numpy_file(exported, lambda name: words(2, seed, name, 0))
    exec(compile(text, "<exported>", "exec"), space)
    predicted: dict[str, Any] = space["predict"](*fields.values())
    return predicted


def _onnx(exported: Exported, fields: Mapping[str, Any], seed: int) -> dict[str, Any] | None:
    """The predictions of the ONNX file.

    Returns None if onnxruntime is not installed, does not know an operation, or computes it in less than the model's
    precision: it has Erf and tan only for f32.
    """
    if _loses_precision(exported.graph):
        return None
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Missing
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(as_onnx(exported), options, providers=["CPUExecutionProvider"])
    except Missing:
        return None
    names = [output.name for output in session.get_outputs()]
    inputs = padded(exported, fields)
    needed = {leaf.name for leaf in session.get_inputs()}
    outputs = session.run(None, {name: np.asarray(array) for name, array in inputs.items() if name in needed})
    return from_padded(dict(zip(names, outputs, strict=True)), exported, inputs)


def _loses_precision(graph: Graph) -> bool:
    """Whether onnxruntime computes a value of the graph or of a scan's body in f32 that is in f64."""
    return any(
        _loses_precision(Scan.of(value).body) if value.role is Role.SCAN else _is_single(value)
        for value in graph.values()
    )


def _is_single(value: Value) -> bool:
    lower = value.definition.lower if value.definition is not None else None
    return (
        value.type.dtype == "f64"
        and isinstance(lower, Scalar)
        and not IN_SINGLE_PRECISION.isdisjoint(re.findall(r"(\w+)\(", lower.expression))
    )
