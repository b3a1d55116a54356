"""Writes attention as ONNX nodes: products and a softmax over sequences that are padded to the longest sample."""

import math

import numpy as np

from netc.compiler.export.onnx_nodes import OnnxNodes
from netc.compiler.export.scalar import Term
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.attention import Attending, is_packed, table_names


def attend(file: OnnxNodes, value: Value, q: Term, k: Term, v: Term, *tables: Term) -> Term:
    """Returns softmax(scale * q k^T) v in each head, packed if the queries are."""
    attributes = value.attributes_as(Attending)
    of_q, of_k, of_v = (operand.type for operand in value.operands[:3])
    named = dict(zip(table_names(is_packed(of_k), is_packed(of_q), len(tables)), tables, strict=True))
    queries = _in_heads(file, _padded(file, q, of_q), (0, 2, 1, 3))
    keys = _in_heads(file, _padded(file, k, of_k), (0, 2, 3, 1))
    values = _in_heads(file, _padded(file, v, of_v), (0, 2, 1, 3))
    scores = file.node("MatMul", [queries.text, keys.text], q.dtype)
    scores = file.node("Mul", [scores.text, file.number(attributes.scale, q.dtype).text], q.dtype)
    at = _numbers(file, of_k)
    if attributes.causal:
        later = file.node("Greater", [at.text, file.column(_numbers(file, of_q)).text], "bool")
        scores = _masked(file, later, -math.inf, scores)
    lengths = named.get("key_lengths")
    if lengths is None:
        return _result(file, value, file.node("Softmax", [scores.text], q.dtype, axis=-1), values)
    ends = file.node("Unsqueeze", [file.cast(lengths, "i64").text, file.constant([1, 2, 3], "i64").text], "i64")
    beyond = file.node("GreaterOrEqual", [at.text, ends.text], "bool")
    weights = file.node("Softmax", [_masked(file, beyond, -math.inf, scores).text], q.dtype, axis=-1)
    return _result(file, value, _masked(file, beyond, 0.0, weights), values)  # also where no key is left


def _result(file: OnnxNodes, value: Value, weights: Term, values: Term) -> Term:
    """Returns the weighted values, in the layout of the queries."""
    result = _in_heads(file, file.node("MatMul", [weights.text, values.text], values.dtype), (0, 2, 1, 3))
    return file.from_samples(result, value.type) if is_packed(value.type) else result


def _masked(file: OnnxNodes, mask: Term, number: float, x: Term) -> Term:
    return file.node("Where", [mask.text, file.number(number, x.dtype).text, x.text], x.dtype)


def _padded(file: OnnxNodes, x: Term, type_: Type) -> Term:
    return file.by_samples(x, type_) if is_packed(type_) else x


def _in_heads(file: OnnxNodes, x: Term, order: tuple[int, ...]) -> Term:
    return file.node("Transpose", [x.text], x.dtype, perm=list(order))


def _numbers(file: OnnxNodes, type_: Type) -> Term:
    """Returns the numbers of the steps that are stored for each sample."""
    if not is_packed(type_):
        return file.constant(np.arange(int(type_.dims[1])), "i64")
    most = file.rows(str(type_.rows)).most
    return file.node("Range", [file.number(0, "i64").text, most.text, file.number(1, "i64").text], "i64")
