"""Builds ONNX graphs: nodes, constants, arithmetic, the rows of varying dimensions, and nested graphs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from netc.compiler.export.exportable import Array, Exported
from netc.compiler.export.scalar import IN_SINGLE_PRECISION, Term
from netc.compiler.export.writer import Index, RowTerms, Writer
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH, DTYPES, Dim, Type
from netc.compiler.ir.value import Value

_ELEMENTS = {
    "f32": TensorProto.FLOAT,
    "f64": TensorProto.DOUBLE,
    "bf16": TensorProto.BFLOAT16,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "text": TensorProto.STRING,
}
_NUMPY = {**{name: dtype.numpy for name, dtype in DTYPES.items()}, "i64": np.dtype(np.int64)}
_WORDS = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "neg": "Neg",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "asin": "Asin",
    "acos": "Acos",
    "atan": "Atan",
    "erf": "Erf",
    "floor": "Floor",
    "rint": "Round",
    "pow": "Pow",
    "min": "Min",
    "max": "Max",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "equal": "Equal",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "where": "Where",
}


class OnnxNodes(Writer):
    """An ONNX graph under construction: its nodes, and the initializers that they read."""

    KIND = "ONNX"

    def __init__(self, exported: Exported) -> None:
        super().__init__(exported)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.constants: dict[tuple[Any, ...], Term] = {}
        self.results: dict[tuple[str, ...], list[Term]] = {}  # of nodes by operation, inputs and attributes
        self.count = 0
        self.padded: dict[str, str] = {}  # names of rows -> names of the same values as sequences [DIM, batch, ...]
        self.arrays: dict[str, Array] = {}  # parameters by their names in the file
        plain = (name for name in exported.inputs if name not in exported.raw)
        self.reserved = {*plain, *exported.outputs, *exported.arrays}  # names that no node may have
        self.sized = ""  # an input with the batch as its first dimension

    def unique(self, name: str) -> str:
        """Appends underscores until no input, output or parameter has the name."""
        while name in self.reserved:
            name += "_"
        return name

    # ------------------------------------------------------------ nodes

    def node(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int = 1, **attributes: Any) -> Term:
        """Adds a node and returns its first output."""
        return self.several(operation, inputs, dtype, outputs, **attributes)[0]

    def several(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int, **attributes: Any) -> list[Term]:
        """Adds a node, unless an equal one exists, and returns all its outputs."""
        key = (operation, *inputs, repr(sorted(attributes.items())))
        if key not in self.results:
            self.count += 1
            ends = [f"_{i}" for i in range(outputs)] if outputs > 1 else [""]
            names = [self.unique(f"{operation.lower()}_{self.count}{end}") for end in ends]
            self.nodes.append(helper.make_node(operation, list(inputs), names, name=names[0], **attributes))
            self.results[key] = [Term(name, dtype) for name in names]
        return self.results[key]

    def needed(self, outputs: Sequence[str]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes and initializers that the outputs need, in their order."""
        names, nodes = set(outputs), list[onnx.NodeProto]()
        for node in reversed(self.nodes):
            if names.intersection(node.output):
                nodes.append(node)
                names.update(_names_read(node))
        return nodes[::-1], [tensor for name, tensor in self.initializers.items() if name in names]

    @contextmanager
    def inside(self) -> Iterator[list[onnx.NodeProto]]:
        """Collects the nodes of a nested graph. It may read outer nodes; outer nodes cannot read its nodes."""
        outer, results, self.nodes = self.nodes, dict(self.results), []
        try:
            yield self.nodes
        finally:
            self.nodes, self.results = outer, results

    def constant(self, array: Any, dtype: str) -> Term:
        """Adds an array as an initializer, unless an equal one exists."""
        content: Array = np.asarray(array, _NUMPY[dtype])
        key = (dtype, content.shape, content.tobytes())
        if key not in self.constants:
            name = self.unique(f"constant_{len(self.constants)}")
            self.initializers[name] = numpy_helper.from_array(content, name)
            self.constants[key] = Term(name, dtype)
        return self.constants[key]

    def shape(self, dims: Sequence[Dim]) -> Term:
        """Returns the dimensions as an integer tensor."""
        if all(isinstance(dim, int) for dim in dims):
            return self.constant([int(dim) for dim in dims], "i64")
        parts = [self.size(dim) if isinstance(dim, str) else self.constant([int(dim)], "i64").text for dim in dims]
        return self.node("Concat", parts, "i64", axis=0)

    def size(self, dim: str) -> str:
        """Returns the name of a tensor with one element, the size of a named dimension."""
        if dim == BATCH:
            return self.node("Shape", [self.sized], "i64", start=0, end=1).text
        return self.node("Shape", [self.rows(dim).sample.term.text], "i64", start=0, end=1).text

    def dim(self, dim: Dim) -> str:
        raise AssertionError("ONNX files hold dimensions in tensors (`size`)")

    # ------------------------------------------------------------ words

    def number(self, value: float | int | bool, dtype: str) -> Term:
        return self.constant(value, dtype)

    def cast(self, x: Term, dtype: str) -> Term:
        return x if x.dtype == dtype else self.node("Cast", [x.text], dtype, to=_ELEMENTS[dtype])

    def word(self, name: str, operands: list[Term], dtype: str) -> Term:
        if name in IN_SINGLE_PRECISION and dtype == "f64":
            return self.cast(self.word(name, [self.cast(operand, "f32") for operand in operands], "f32"), dtype)
        inputs = [operand.text for operand in operands]
        if name in _WORDS:
            return self.node(_WORDS[name], inputs, dtype)
        unity = self.number(1, operands[0].dtype)
        if name == "not_equal":
            return self.node("Not", [self.node("Equal", inputs, dtype).text], dtype)
        if name == "floor_divide":  # Div rounds towards 0
            rest = self.node("Mod", inputs, dtype)
            return self.node("Div", [self.node("Sub", [inputs[0], rest.text], dtype).text, inputs[1]], dtype)
        if name == "log1p":
            return self.node("Log", [self.node("Add", [inputs[0], unity.text], dtype).text], dtype)
        if name == "softplus":
            negative = self.node("Neg", [self.node("Abs", inputs, dtype).text], dtype)
            rest = self.word("log1p", [self.node("Exp", [negative.text], dtype)], dtype)
            return self.node("Add", [self.node("Relu", inputs, dtype).text, rest.text], dtype)
        if name == "expm1":
            return self.node("Sub", [self.node("Exp", inputs, dtype).text, unity.text], dtype)
        if name == "normal_cdf":
            wide = self.word("erf", [self._times(operands[0], 0.7071067811865476)], dtype)
            return self._times(self.node("Add", [wide.text, unity.text], dtype), 0.5)
        if name == "gelu":
            return self.node("Mul", [inputs[0], self.word("normal_cdf", operands, dtype).text], dtype)
        if name == "as_bf16":
            return self.cast(self.cast(operands[0], "bf16"), dtype)
        if name == "atan2":
            return self._angle(*operands)
        raise KeyError(name)

    def _times(self, x: Term, factor: float) -> Term:
        return self.node("Mul", [x.text, self.number(factor, x.dtype).text], x.dtype)

    def _angle(self, y: Term, x: Term) -> Term:
        """The angle of the point (x, y): atan(y / x), with pi added or subtracted where x is negative."""
        zero = self.number(0, x.dtype)

        def where(condition: Term, yes: Term, no: Term) -> Term:
            return self.node("Where", [condition.text, yes.text, no.text], x.dtype)

        def is_negative(z: Term) -> Term:
            return self.node("Less", [z.text, zero.text], "bool")

        angle = self.word("atan", [self.node("Div", [y.text, x.text], x.dtype)], x.dtype)
        turned = where(is_negative(y), self.number(-math.pi, x.dtype), self.number(math.pi, x.dtype))
        angle = self.node("Add", [angle.text, where(is_negative(x), turned, zero).text], x.dtype)
        both_zero = self.node("And", [self.node("Equal", [z.text, zero.text], "bool").text for z in (x, y)], "bool")
        return where(both_zero, zero, angle)

    def take(self, x: Term, index: Term) -> Term:
        return self.node("Gather", [x.text, index.text], x.dtype, axis=0)

    def parameter(self, name: str, array: Array) -> Term:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
            self.arrays[name] = array
        return Term(name, next(dtype for dtype, kind in _NUMPY.items() if array.dtype == kind))

    def counted(self, count: int) -> Term:
        return self.constant(np.arange(count), "i64")

    def column(self, x: Term) -> Term:
        return self.node("Unsqueeze", [x.text, self.constant([1], "i64").text], x.dtype)

    def named(self, value: Value, term: Term, uses: int) -> Term:
        return term

    # ------------------------------------------------------------ rows

    def input_lengths(self, dim: str) -> Term:
        return self.cast(Term(str(ResultKind.LENGTH.named(dim)), "i64"), "i64")

    def constant_lengths(self, steps: int) -> Term:
        return self.node("Expand", [self.constant([steps], "i64").text, self.size(BATCH)], "i64")

    def make_rows(self, dim: str, length: Term) -> RowTerms:
        most = self.node("ReduceMax", [length.text], "i64", keepdims=0)
        steps = self.node("Range", [self.number(0, "i64").text, most.text, self.number(1, "i64").text], "i64")
        mask = self.node("Less", [steps.text, self.column(length).text], "bool")
        pairs = self.node("NonZero", [mask.text], "i64")
        sample, step = (self.node("Gather", [pairs.text, self.number(i, "i64").text], "i64", axis=0) for i in (0, 1))
        first = self.node("CumSum", [length.text, self.number(0, "i64").text], "i64", exclusive=1)
        return self.indexed(length, first, sample, step, most)

    def flat(self, x: Term, dims: Sequence[Dim]) -> Term:
        """Merges the leading axes of x into one; `dims` are the axes that stay."""
        return self.node("Reshape", [x.text, self.constant([-1, *(int(dim) for dim in dims)], "i64").text], x.dtype)

    def to_padded(self, x: Term, type_: Type, dim: str) -> str:
        """Returns the name of the rows as sequences [DIM, batch, ...], with zeros beyond their ends."""
        if x.text not in self.padded:
            rows = self.rows(dim)
            samples = Index(self, self.node("Squeeze", [self.size(BATCH)], "i64"))
            position = (rows.step * samples + rows.sample).term
            self.padded[x.text] = self._scattered(x, position, rows, type_.dims[1:], by_step=True)
        return self.padded[x.text]

    def by_samples(self, x: Term, type_: Type) -> Term:
        """Returns the rows as sequences [batch, DIM, ...], with zeros beyond their ends."""
        rows = self.rows(str(type_.rows))
        position = (rows.sample * Index(self, rows.most) + rows.step).term
        return Term(self._scattered(x, position, rows, type_.dims[1:], by_step=False), x.dtype)

    def from_samples(self, padded: Term, type_: Type) -> Term:
        """Returns the rows of sequences [batch, DIM, ...]."""
        rows = self.rows(str(type_.rows))
        position = (rows.sample * Index(self, rows.most) + rows.step).term
        return self.take(self.flat(padded, type_.dims[1:]), position)

    def _scattered(self, x: Term, position: Term, rows: RowTerms, dims: Sequence[Dim], by_step: bool) -> str:
        """Returns the name of [DIM, batch, *dims], or [batch, DIM, *dims] unless `by_step`: rows of x, zeros elsewhere.

        `position` is the index of each row in the flattened result.
        """
        most = self.node("Unsqueeze", [rows.most.text, self.constant([0], "i64").text], "i64").text
        lead = [most, self.size(BATCH)] if by_step else [self.size(BATCH), most]
        rest = [self.constant([int(dim) for dim in dims], "i64").text] if dims else []
        shape = self.node("Concat", [*lead, *rest], "i64", axis=0)
        count = self.node("Mul", lead, "i64").text
        flat = self.node("Concat", [count, *rest], "i64", axis=0)
        zeros = self.node("Expand", [self.number(0, x.dtype).text, flat.text], x.dtype)
        filled = self.node("ScatterND", [zeros.text, self.column(position).text, x.text], x.dtype)
        return self.node("Reshape", [filled.text, shape.text], x.dtype).text

    def from_padded(self, padded: str, dtype: str, type_: Type, dim: str) -> Term:
        """Returns the rows of sequences [DIM, batch, ...]."""
        rows = self.rows(dim)
        samples = Index(self, self.node("Squeeze", [self.size(BATCH)], "i64"))
        taken = self.take(self.flat(Term(padded, dtype), type_.dims[1:]), (rows.step * samples + rows.sample).term)
        self.padded[taken.text] = padded
        return taken

    def input_rows(self, name: str, type_: Type) -> Term:
        """Returns the rows of an input [batch, DIM, ...]."""
        order = [1, 0, *range(2, type_.rank + 1)]
        padded = self.node("Transpose", [name], type_.dtype, perm=order)
        return self.from_padded(padded.text, type_.dtype, type_, str(type_.rows))


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names that a node and its nested graphs read, those of the nested graphs' own nodes among them."""
    pending = [node]
    while pending:
        reader = pending.pop()
        yield from reader.input
        for attribute in reader.attribute:
            pending += attribute.g.node
            yield from (output.name for output in attribute.g.output)


def info(name: str, dtype: str, dims: Sequence[Dim] | None = None) -> onnx.ValueInfoProto:
    """Describes an input or output of a graph; without `dims` the shape is inferred."""
    return helper.make_tensor_value_info(name, _ELEMENTS[dtype], dims)


def infos(*terms: Term) -> list[onnx.ValueInfoProto]:
    """Describes the inputs or outputs of a nested graph, whose shapes are inferred."""
    return [info(term.text, term.dtype) for term in terms]
