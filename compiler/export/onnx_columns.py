"""Writes the part of an ONNX file that makes an input of the model from raw columns of a table.

Each column is an input [batch] of the file. Texts are numbered by ai.onnx.ml's LabelEncoder.
"""

from collections.abc import Mapping

import onnx

from netc.compiler.export.exportable import RawColumns
from netc.compiler.export.onnx_dates import year_of
from netc.compiler.export.onnx_nodes import OnnxNodes, info
from netc.compiler.export.scalar import Term
from netc.compiler.ir.types import BATCH, Type

DOMAIN, VERSION = "ai.onnx.ml", 3


def column_inputs(nodes: OnnxNodes, raw: Mapping[str, RawColumns]) -> dict[str, onnx.ValueInfoProto]:
    """The inputs of the file by column: a column that several inputs of the model read is one of them."""
    inputs: dict[str, onnx.ValueInfoProto] = {}
    for columns in raw.values():
        for name in columns.columns:
            if name not in inputs:
                inputs[name] = info(nodes.unique(name), "text" if columns.codes else "f64", [BATCH])
                nodes.reserved.add(inputs[name].name)
    return inputs


def from_columns(nodes: OnnxNodes, raw: RawColumns, names: Mapping[str, str], type_: Type) -> Term:
    """The input of a model, made from the columns. `names` are those of the columns as inputs of the file."""
    axis = nodes.constant([1], "i64").text
    columns: list[str] = []
    for i, column in enumerate(raw.columns):
        term = Term(names[column], "f64")
        if raw.codes:
            term = nodes.node(
                "LabelEncoder",
                [names[column]],
                "i64",
                domain=DOMAIN,
                keys_strings=[*raw.codes[i]],
                values_int64s=[*raw.codes[i].values()],
                default_int64=raw.other,
            )
        else:
            term = _from_number(nodes, raw, i, term)
        columns.append(nodes.node("Unsqueeze", [term.text, axis], term.dtype).text)
    dtype = "i64" if raw.codes or raw.edges else "f64"
    joined = nodes.node("Concat", columns, dtype, axis=1) if len(columns) > 1 else Term(columns[0], dtype)
    if raw.width is not None:
        positions = nodes.counted(raw.width)
        wide = nodes.node("Unsqueeze", [joined.text, nodes.constant([2], "i64").text], "i64")
        joined = nodes.node("Equal", [wide.text, positions.text], "bool")
    dims = [int(dim) for dim in type_.dims[1:]]
    shaped = nodes.node("Reshape", [joined.text, nodes.constant([-1, *dims], "i64").text], joined.dtype)
    return nodes.cast(shaped, type_.dtype)


def _from_number(nodes: OnnxNodes, raw: RawColumns, column: int, term: Term) -> Term:
    """The number of a column, or the number of its bucket."""
    if raw.is_date:
        term = year_of(nodes, term, raw.has_time)
    if raw.fills:
        is_missing = nodes.node("IsNaN", [term.text], "bool")
        term = nodes.node("Where", [is_missing.text, nodes.number(raw.fills[column], "f64").text, term.text], "f64")
    if raw.edges:
        axis, edges = nodes.constant([1], "i64").text, nodes.constant(raw.edges[column], "f64").text
        is_beyond = nodes.node(
            "GreaterOrEqual", [nodes.node("Unsqueeze", [term.text, axis], "f64").text, edges], "bool"
        )
        term = nodes.node("ReduceSum", [nodes.cast(is_beyond, "i64").text, axis], "i64", keepdims=0)
    if raw.positions:
        term = nodes.take(nodes.constant(raw.positions, "i64"), term)
    return term
