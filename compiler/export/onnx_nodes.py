"""What every ONNX file here is made of: nodes and constants, words of arithmetic, the rows of varying dimensions, and graphs in a graph."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from netc.compiler.export.scalar import Term
from netc.compiler.export.writer import Array, Exported, Index, Rows, Writer
from netc.compiler.ir.types import BATCH, DTYPES, Dim, Type
from netc.compiler.ir.value import Value

_ELEMENTS = {
    "f32": TensorProto.FLOAT,
    "f64": TensorProto.DOUBLE,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
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
    "sin": "Sin",
    "cos": "Cos",
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
    """A graph in the making: its nodes, and the initializers that they read."""

    KIND = "ONNX"

    def __init__(self, exported: Exported) -> None:
        super().__init__(exported)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.constants: dict[tuple[Any, ...], Term] = {}
        self.known: dict[tuple[str, ...], list[Term]] = {}
        self.count = 0
        self.padded: dict[str, str] = {}  # rows, as sequences [DIM, batch, ...]
        self.arrays: dict[str, Array] = {}  # parameters by what they are called here
        self.reserved = {*exported.inputs, *exported.outputs, *exported.arrays}  # no node may be called so

    def unique(self, name: str) -> str:
        """A name for a node or a constant that no input, output or parameter has."""
        while name in self.reserved:
            name += "_"
        return name

    # ------------------------------------------------------------ nodes

    def node(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int = 1, **attributes: Any) -> Term:
        return self.several(operation, inputs, dtype, outputs, **attributes)[0]

    def several(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int, **attributes: Any) -> list[Term]:
        key = (operation, *inputs, repr(sorted(attributes.items())))
        if key not in self.known:
            self.count += 1
            ends = [f"_{i}" for i in range(outputs)] if outputs > 1 else [""]
            names = [self.unique(f"{operation.lower()}_{self.count}{end}") for end in ends]
            self.nodes.append(helper.make_node(operation, list(inputs), names, name=names[0], **attributes))
            self.known[key] = [Term(name, dtype) for name in names]
        return self.known[key]

    @contextmanager
    def inside(self) -> Iterator[list[onnx.NodeProto]]:
        """The nodes of a graph in this one: it sees what is out here, nobody out here what is in it."""
        before, known, self.nodes = self.nodes, dict(self.known), []
        try:
            yield self.nodes
        finally:
            self.nodes, self.known = before, known

    def constant(self, array: Any, dtype: str) -> Term:
        """An array as an initializer; equal ones are one."""
        own: Array = np.asarray(array, _NUMPY[dtype])
        key = (dtype, own.shape, own.tobytes())
        if key not in self.constants:
            name = self.unique(f"constant_{len(self.constants)}")
            self.initializers[name] = numpy_helper.from_array(own, name)
            self.constants[key] = Term(name, dtype)
        return self.constants[key]

    def shape(self, dims: Sequence[Dim]) -> Term:
        """Dimensions as a tensor of whole numbers."""
        if all(isinstance(dim, int) for dim in dims):
            return self.constant([int(dim) for dim in dims], "i64")
        parts = [self.size(dim) if isinstance(dim, str) else self.constant([int(dim)], "i64").text for dim in dims]
        return self.node("Concat", parts, "i64", axis=0)

    def size(self, dim: str) -> str:
        """A named dimension, as a tensor of one element."""
        if dim == BATCH:
            first = next(iter(self.exported.inputs))
            return self.node("Shape", [first], "i64", start=0, end=1).text
        return self.node("Shape", [self.rows(dim).sample.term.text], "i64", start=0, end=1).text

    def dim(self, dim: Dim) -> str:
        raise AssertionError("a dimension is a tensor here")

    # ------------------------------------------------------------ words

    def number(self, value: float | int | bool, dtype: str) -> Term:
        return self.constant(value, dtype)

    def cast(self, x: Term, dtype: str) -> Term:
        return x if x.dtype == dtype else self.node("Cast", [x.text], dtype, to=_ELEMENTS[dtype])

    def word(self, name: str, operands: list[Term], dtype: str) -> Term:
        if name == "erf" and dtype == "f64":  # onnxruntime has none for doubles
            return self.cast(self.word(name, [self.cast(operands[0], "f32")], "f32"), dtype)
        own = [one.text for one in operands]
        if name in _WORDS:
            return self.node(_WORDS[name], own, dtype)
        one = self.number(1, operands[0].dtype)
        if name == "not_equal":
            return self.node("Not", [self.node("Equal", own, dtype).text], dtype)
        if name == "floor_divide":  # Div cuts towards 0
            rest = self.node("Mod", own, dtype)
            return self.node("Div", [self.node("Sub", [own[0], rest.text], dtype).text, own[1]], dtype)
        if name == "log1p":
            return self.node("Log", [self.node("Add", [own[0], one.text], dtype).text], dtype)
        if name == "expm1":
            return self.node("Sub", [self.node("Exp", own, dtype).text, one.text], dtype)
        raise KeyError(name)

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

    def given_lengths(self, dim: str) -> Term:
        return self.cast(Term(f"length.{dim}", "i64"), "i64")

    def same_lengths(self, steps: int) -> Term:
        return self.node("Expand", [self.constant([steps], "i64").text, self.size(BATCH)], "i64")

    def made_rows(self, dim: str, length: Term) -> Rows:
        most = self.node("ReduceMax", [length.text], "i64", keepdims=0)
        steps = self.node("Range", [self.number(0, "i64").text, most.text, self.number(1, "i64").text], "i64")
        mask = self.node("Less", [steps.text, self.column(length).text], "bool")
        places = self.node("NonZero", [mask.text], "i64")
        sample, step = (self.node("Gather", [places.text, self.number(i, "i64").text], "i64", axis=0) for i in (0, 1))
        first = self.node("CumSum", [length.text, self.number(0, "i64").text], "i64", exclusive=1)
        return self.indexed(length, first, sample, step, most)

    def flat(self, x: Term, lead: int, dims: Sequence[Dim]) -> Term:
        """x with its first `lead` axes as one."""
        return self.node("Reshape", [x.text, self.constant([-1, *(int(dim) for dim in dims)], "i64").text], x.dtype)

    def to_padded(self, x: Term, type_: Type, dim: str) -> str:
        """Rows as [DIM, batch, ...], zeros beyond the ends."""
        if x.text not in self.padded:
            rows = self.rows(dim)
            samples = Index(self, self.node("Squeeze", [self.size(BATCH)], "i64"))
            place = (rows.step * samples + rows.sample).term
            self.padded[x.text] = self._scattered(x, place, rows, type_.dims[1:], by_step=True)
        return self.padded[x.text]

    def _scattered(self, x: Term, place: Term, rows: Rows, dims: Sequence[Dim], by_step: bool) -> str:
        most = self.node("Unsqueeze", [rows.most.text, self.constant([0], "i64").text], "i64").text
        lead = [most, self.size(BATCH)] if by_step else [self.size(BATCH), most]
        rest = [self.constant([int(dim) for dim in dims], "i64").text] if dims else []
        shape = self.node("Concat", [*lead, *rest], "i64", axis=0)
        room = self.node("Mul", lead, "i64").text
        flat = self.node("Concat", [room, *rest], "i64", axis=0)
        zeros = self.node("Expand", [self.number(0, x.dtype).text, flat.text], x.dtype)
        made = self.node("ScatterND", [zeros.text, self.column(place).text, x.text], x.dtype)
        return self.node("Reshape", [made.text, shape.text], x.dtype).text

    def from_padded(self, padded: str, dtype: str, type_: Type, dim: str) -> Term:
        """[DIM, batch, ...] as rows."""
        rows = self.rows(dim)
        samples = Index(self, self.node("Squeeze", [self.size(BATCH)], "i64"))
        made = self.take(self.flat(Term(padded, dtype), 2, type_.dims[1:]), (rows.step * samples + rows.sample).term)
        self.padded[made.text] = padded
        return made

    def given_rows(self, name: str, type_: Type) -> Term:
        """An input [batch, DIM, ...] as rows."""
        order = [1, 0, *range(2, type_.rank + 1)]
        padded = self.node("Transpose", [name], type_.dtype, perm=order)
        return self.from_padded(padded.text, type_.dtype, type_, str(type_.rows))


def info(name: str, dtype: str, dims: Sequence[Dim] | None = None) -> onnx.ValueInfoProto:
    """What a graph says of its inputs and outputs; without dimensions, where they are seen from the rest."""
    return helper.make_tensor_value_info(name, _ELEMENTS[dtype], dims)


def infos(*terms: Term) -> list[onnx.ValueInfoProto]:
    return [info(term.text, term.dtype) for term in terms]
