"""A model in use as ONNX (opset 18): batch and lengths are free, `length.DIM` says how many steps each sample has of a varying dimension.

Sequences come in padded, [batch, DIM, ...], and outputs go out so, zeros beyond their ends. Whatever is not along steps works on rows without padding.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from netc.compiler.export.cells import Cell, cell_of, gates
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import Array, Exported, Index, Rows, Writer, declared_dims
from netc.compiler.operations.scan import Scan
from netc.compiler.types import BATCH, Dim, Type
from netc.compiler.value import OPERATIONS, Fold, Value

OPSET, _IR = 18, 8
_ELEMENTS = {
    "f32": TensorProto.FLOAT,
    "f64": TensorProto.DOUBLE,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}
_NUMPY = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "u8": np.uint8, "bool": np.bool_}
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


def onnx_file(exported: Exported) -> bytes:
    """The model, checked by ONNX's own checker. Faults E1201 for what ONNX has no operation for."""
    content: bytes = _OnnxFile(exported).model().SerializeToString()
    return content


class _OnnxFile(Writer):
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

    # ------------------------------------------------------------ nodes

    def node(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int = 1, **attributes: Any) -> Term:
        return self.several(operation, inputs, dtype, outputs, **attributes)[0]

    def several(self, operation: str, inputs: Sequence[str], dtype: str, outputs: int, **attributes: Any) -> list[Term]:
        key = (operation, *inputs, repr(sorted(attributes.items())))
        if key not in self.known:
            self.count += 1
            names = [f"{operation.lower()}_{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
            self.nodes.append(helper.make_node(operation, list(inputs), names, **attributes))
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
            name = f"constant_{len(self.constants)}"
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

    # ------------------------------------------------------------ the model

    def model(self) -> onnx.ModelProto:
        exported = self.exported
        inputs, leaves = [], {}
        for name, type_ in exported.inputs.items():
            dims = [BATCH, *type_.dims] if type_.is_varying else list(type_.dims)
            inputs.append(_info(name, type_.dtype, dims))
        for dim in declared_dims(exported):
            inputs.append(_info(f"length.{dim}", "i64", [BATCH]))
        for name, type_ in exported.inputs.items():
            leaves[name] = self.given_rows(name, type_) if type_.is_varying else Term(name, type_.dtype)
        made = self.walk(exported.graph, leaves)
        outputs = list[onnx.ValueInfoProto]()
        for name, value in exported.graph.results.items():
            own, term = name.removeprefix("output."), made[value]
            dims = [BATCH, *value.type.dims] if value.type.is_varying else list(value.type.dims)
            if value.type.is_varying:
                rows = self.rows(str(value.type.rows))
                place = (rows.sample * Index(self, rows.most) + rows.step).term
                term = Term(self._scattered(term, place, rows, value.type.dims[1:], by_step=False), term.dtype)
                told = f"length.{value.type.rows}"
                if told not in [one.name for one in (*inputs, *outputs)]:
                    self.nodes.append(helper.make_node("Identity", [rows.length.term.text], [told]))
                    outputs.append(_info(told, "i64", [BATCH]))
            shown = [int(dim) if isinstance(dim, int) else dim for dim in dims]
            self.nodes.append(helper.make_node("Identity", [term.text], [own]))
            outputs.append(_info(own, value.type.dtype, shown))
        graph = helper.make_graph(self.nodes, exported.name, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="netc", opset_imports=opsets, ir_version=_IR)
        labels = {f"labels.{name}": json.dumps(own, ensure_ascii=False) for name, own in exported.labels.items()}
        helper.set_model_props(model, {**exported.notes, **labels})
        onnx.checker.check_model(model, full_check=True)
        return model

    # ------------------------------------------------------------ scans

    def run_scan(self, one: Scan, given: Mapping[str, Term]) -> dict[str, Term]:
        cell = cell_of(one)
        if cell is not None and all(term.text in self.arrays for name, term in given.items() if name[0] == "k"):
            return self._cell(one, cell, given)
        return self._loop(one, given)

    def _cell(self, one: Scan, cell: Cell, given: Mapping[str, Term]) -> dict[str, Term]:
        """One of ONNX's own recurrent layers."""
        rows, order, dtype = self.rows(one.dim), cell.order, given["x0"].dtype
        taken = [self.arrays[given[f"k{i}"].text] for i in range(len(one.captured))]
        w, u = (array for array in taken if array.ndim == 2)
        biases = [array for array in taken if array.ndim == 1]
        units = u.shape[0]
        own = [gates(bias, order) for bias in (*biases, *(np.zeros_like(biases[0]) for _ in range(2 - len(biases))))]
        wide = [gates(w, order).T[None], gates(u, order).T[None], np.concatenate(own)[None]]
        x = self.to_padded(given["x0"], one.sequences[0].type, one.dim)
        begins = [
            self.node("Unsqueeze", [given[f"c{i}"].text, self.constant([0], "i64").text], dtype).text
            for i in range(cell.carries)
        ]
        lengths = self.cast(rows.length.term, "i32").text
        found = self.several(
            cell.operation,
            [x, *(self.constant(array, dtype).text for array in wide), lengths, *begins],
            dtype,
            1 + cell.carries,
            hidden_size=units,
            direction="reverse" if one.is_reversed else "forward",
            **dict(cell.attributes),
        )
        axis = self.constant([1], "i64").text
        states = self.node("Squeeze", [found[0].text, axis], dtype)
        lasts = [self.node("Squeeze", [term.text, self.constant([0], "i64").text], dtype) for term in found[1:]]
        parts = {f"last.{i}": last for i, last in enumerate(lasts)}
        for name, value in one.body.results.items():
            if name.startswith("yield."):
                if value is not one.body.results["next.0"]:  # ONNX shows the last cell alone
                    return self._loop(one, given)
                parts[name] = self.from_padded(states.text, dtype, value.type, one.dim)
        return parts

    def _loop(self, one: Scan, given: Mapping[str, Term]) -> dict[str, Term]:
        """Any other body: ONNX's Scan over padded steps; what a sample carries stays as it is beyond its end."""
        rows, types = self.rows(one.dim), {name: leaf.type for name, leaf in one.leaves().items()}
        steps = self.node("Range", [self.number(0, "i64").text, rows.most.text, self.number(1, "i64").text], "i64")
        carries = [name for name in given if name[0] == "c"]
        sequences = [name for name in given if name[0] == "x" and name in types]
        padded = [
            self.to_padded(given[name], operand.type, one.dim)
            for name, operand in one.operand_of().items()
            if name in sequences
        ]
        self.count += 1
        tag = f"s{self.count}"
        leaves = {name: Term(f"{tag}_{name}", given[name].dtype) for name in (*carries, *sequences)}
        known = {**leaves, **{name: term for name, term in given.items() if name[0] == "k"}}
        step = Term(f"{tag}_step", "i64")
        yields = {name: value for name, value in one.body.results.items() if name.startswith("yield.")}
        with self.inside() as nodes:
            made = self.walk(one.body, known)
            runs = self.node("Less", [step.text, rows.length.term.text], "bool")
            outputs = list[Term]()
            for name in carries:
                value = one.body.results[f"next.{name[1:]}"]
                beside = self.constant([-1, *(1,) * (value.type.rank - 1)], "i64").text
                is_running = self.node("Reshape", [runs.text, beside], "bool")
                outputs.append(
                    self.node("Where", [is_running.text, made[value].text, leaves[name].text], made[value].dtype)
                )
            for value in yields.values():
                self.count += 1
                outputs.append(Term(f"{tag}_yield_{self.count}", made[value].dtype))
                nodes.append(helper.make_node("Identity", [made[value].text], [outputs[-1].text]))
        body = helper.make_graph(
            nodes, f"{tag}_body", _infos(*leaves.values()) + [_info(step.text, step.dtype, [])], _infos(*outputs)
        )
        back, over = int(one.is_reversed), len(sequences) + 1
        found = self.several(
            "Scan",
            [*(given[name].text for name in carries), *padded, steps.text],
            "f32",
            len(outputs),
            body=body,
            num_scan_inputs=over,
            scan_input_directions=[back] * over,
            **({"scan_output_directions": [back] * len(yields)} if yields else {}),
        )
        terms = [Term(term.text, own.dtype) for term, own in zip(found, outputs, strict=True)]
        parts = {f"last.{name[1:]}": term for name, term in zip(carries, terms, strict=False)}
        for (name, value), term in zip(yields.items(), terms[len(carries) :], strict=True):
            parts[name] = self.from_padded(term.text, term.dtype, value.type, one.dim)
        return parts

    def own_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        """A reduction by a function of two: a Scan over the elements."""
        lower = OPERATIONS[value.operation].lower
        if not isinstance(lower, Fold):
            return None
        over, dtype, rank = value.attributes["over"], value.type.dtype, value.operands[0].type.rank
        assert isinstance(over, tuple)
        order = [*over, *(axis for axis in range(rank) if axis not in over)]
        moved = self.node("Transpose", [operands[0].text], dtype, perm=order)
        rest = (
            self.node("Shape", [moved.text], "i64", start=len(over)) if rank > len(over) else self.constant([], "i64")
        )
        wide = self.node("Concat", [self.constant([-1], "i64").text, rest.text], "i64", axis=0)
        rows = self.node("Reshape", [moved.text, wide.text], dtype)
        begin = self.node("Expand", [self.number(float(lower.initial), dtype).text, rest.text], dtype)
        self.count += 1
        pair = {name: Term(f"fold_{self.count}_{name}", dtype) for name in ("a", "b")}
        with self.inside() as nodes:
            total = self.node("Identity", [translate(lower.combine, pair, {}, dtype, self).text], dtype)
        body = helper.make_graph(nodes, f"fold_{self.count}", _infos(*pair.values()), _infos(total))
        return self.node("Scan", [begin.text, rows.text], dtype, body=body, num_scan_inputs=1)

    # ------------------------------------------------------------ whole operations

    def _reshape(self, value: Value, x: Term) -> Term:
        wanted = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims]
        return self.node("Reshape", [x.text, self.constant(wanted, "i64").text], x.dtype)

    def _broadcast(self, value: Value, x: Term) -> Term:
        return self.node("Expand", [x.text, self.shape(value.type.dims).text], x.dtype)

    def _slice(self, value: Value, x: Term) -> Term:
        axis, start, stop = (value.attributes[name] for name in ("axis", "start", "stop"))
        own = [self.constant([one], "i64").text for one in (start, stop, axis, value.attributes.get("step", 1))]
        return self.node("Slice", [x.text, *own], x.dtype)

    def _pad(self, value: Value, x: Term) -> Term:
        one = value.attributes
        axes, before, after, step = (one[name] for name in ("axes", "before", "after", "step"))
        assert isinstance(axes, tuple)
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        assert isinstance(step, tuple)
        fill = self.number(float(one.get("value", 0.0)), x.dtype).text  # type: ignore[arg-type]
        dims = list(value.operands[0].type.dims)
        for axis, apart in zip(axes, step, strict=True):
            if apart > 1:  # each element with what follows it, then without what follows the last
                x = self.node("Unsqueeze", [x.text, self.constant([axis + 1], "i64").text], x.dtype)
                pads = self.constant([0, apart - 1], "i64").text
                x = self.node("Pad", [x.text, pads, fill, self.constant([axis + 1], "i64").text], x.dtype)
                wide = (int(dims[axis]) - 1) * apart + 1
                dims[axis] = int(dims[axis]) * apart
                wanted = [-1 if isinstance(dim, str) else int(dim) for dim in dims]
                x = self.node("Reshape", [x.text, self.constant(wanted, "i64").text], x.dtype)
                ends = [self.constant([n], "i64").text for n in (0, wide, axis)]
                x, dims[axis] = self.node("Slice", [x.text, *ends], x.dtype), wide
        pads = self.constant([*before, *after], "i64").text
        return self.node("Pad", [x.text, pads, fill, self.constant(axes, "i64").text], x.dtype)

    def _concat(self, value: Value, *parts: Term) -> Term:
        return self.node("Concat", [part.text for part in parts], value.type.dtype, axis=value.attributes["axis"])

    def _einsum(self, value: Value, x: Term, y: Term) -> Term:
        subscripts = str(value.attributes["subscripts"])
        inputs, _, out = subscripts.partition("->")
        left, right = inputs.split(",")
        is_plain = len(right) == 2 and right[0] == left[-1] and out == left[:-1] + right[1] and right[1] not in left
        if is_plain:
            return self.node("MatMul", [x.text, y.text], x.dtype)
        letters = dict.fromkeys(left + right)  # ONNX knows small ones alone
        names = str.maketrans({letter: chr(ord("a") + i) for i, letter in enumerate(letters)})
        return self.node("Einsum", [x.text, y.text], x.dtype, equation=subscripts.translate(names))

    def _reduced(self, value: Value, x: Term) -> Term:
        kind = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}[value.operation]
        return self.node(kind, [x.text, self.constant(value.attributes["over"], "i64").text], x.dtype, keepdims=0)

    def _argmax(self, value: Value, x: Term) -> Term:
        over = value.attributes["over"]
        assert isinstance(over, tuple)
        return self.cast(self.node("ArgMax", [x.text], "i64", axis=over[0], keepdims=0), "i32")

    def _scatter(self, value: Value, x: Term, index: Term) -> Term:
        kind, initial = ("add", 0.0) if value.operation == "scatter_add" else ("max", -math.inf)
        room = self.node("Expand", [self.number(initial, x.dtype).text, self.shape(value.type.dims).text], x.dtype)
        places = self.cast(index, "i64")
        if value.operands[1].type.rank > 1:
            places = self.node("Reshape", [places.text, self.constant([-1], "i64").text], "i64")
            x = self.flat(x, value.operands[1].type.rank, value.type.dims[1:])
        return self.node("ScatterND", [room.text, self.column(places).text, x.text], x.dtype, reduction=kind)

    def _to_steps(self, value: Value, x: Term, place: Term) -> Term:
        return self.take(self.flat(x, 2, value.operands[0].type.dims[2:]), place)

    def _from_steps(self, value: Value, x: Term, place: Term) -> Term:
        size, rest = int(value.type.dims[1]), value.type.dims[2:]
        samples = self.node("Mul", [self.size(BATCH), self.constant([size], "i64").text], "i64").text
        parts = [samples, *([self.constant([int(dim) for dim in rest], "i64").text] if rest else [])]
        shape = self.node("Concat", parts, "i64", axis=0)
        zeros = self.node("Expand", [self.number(0, x.dtype).text, shape.text], x.dtype)
        made = self.node("ScatterND", [zeros.text, self.column(self.cast(place, "i64")).text, x.text], x.dtype)
        return self._reshape(value, made)

    def _extent(self, value: Value) -> Term:
        dims = value.attributes["dims"]
        assert isinstance(dims, tuple)
        whole = self.node("ReduceProd", [self.shape(dims).text], "i64", keepdims=0)
        return self.cast(whole, value.type.dtype)

    def _window(self, value: Value, x: Term) -> Term:
        """Windows by their elements' numbers."""
        one: Any = value.attributes
        axis, size, stride, dilation = (one[name] for name in ("axis", "size", "stride", "dilation"))
        count = int(value.type.dims[axis])
        places = np.add.outer(np.arange(count) * stride, np.arange(size) * dilation)
        return self.node("Gather", [x.text, self.constant(places, "i64").text], x.dtype, axis=axis)

    def _interleave(self, value: Value, *parts: Term) -> Term:
        one: Any = value.attributes
        tall, wide = one["size"]
        rank, (h, w, c) = value.type.rank, (int(dim) for dim in value.operands[0].type.dims[-3:])
        axis = self.constant([rank - 3], "i64").text
        stacked = self.node(
            "Concat",
            [self.node("Unsqueeze", [part.text, axis], part.dtype).text for part in parts],
            value.type.dtype,
            axis=rank - 3,
        )
        lead = [-1 if isinstance(dim, str) else int(dim) for dim in value.type.dims[:-3]]
        apart = self.node(
            "Reshape", [stacked.text, self.constant([*lead, tall, wide, h, w, c], "i64").text], value.type.dtype
        )
        n = len(lead)
        order = [*range(n), n + 2, n, n + 3, n + 1, n + 4]
        return self._reshape(value, self.node("Transpose", [apart.text], value.type.dtype, perm=order))

    # ------------------------------------------------------------ images: netc has channels last, ONNX first

    def _channels_first(self, x: Term, rank: int) -> Term:
        return self.node("Transpose", [x.text], x.dtype, perm=[*range(rank - 3), rank - 1, rank - 3, rank - 2])

    def _channels_last(self, x: Term, rank: int) -> Term:
        return self.node("Transpose", [x.text], x.dtype, perm=[*range(rank - 3), rank - 2, rank - 1, rank - 3])

    def _on_images(self, value: Value, x: Term, make: Any) -> Term:
        """`make` of images [n, c, h, w], whatever axes stand before them."""
        own, rank = value.operands[0].type, value.operands[0].type.rank
        if rank != 4:
            x = self.node("Reshape", [x.text, self.constant([-1, *map(int, own.dims[-3:])], "i64").text], x.dtype)
        made = self._channels_last(make(self._channels_first(x, 4)), 4)
        return made if rank == 4 else self._reshape(value, made)

    def _conv2d(self, value: Value, x: Term, w: Term) -> Term:
        one: Any = value.attributes
        kernel = self.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
        top, bottom, left, right = one["pad"]

        def make(image: Term) -> Term:
            return self.node(
                "Conv",
                [image.text, kernel.text],
                x.dtype,
                strides=list(one["stride"]),
                dilations=list(one["dilation"]),
                pads=[top, left, bottom, right],
                group=one["groups"],
            )

        return self._on_images(value, x, make)

    def _conv2d_input(self, value: Value, y: Term, w: Term) -> Term:
        one: Any = value.attributes
        kh, kw = (int(dim) for dim in value.operands[1].type.dims[:2])
        groups = one["groups"]
        # [kh, kw, c, groups * n'] -> [groups * n', c, kh, kw]
        kernel = self.node("Transpose", [w.text], w.dtype, perm=[3, 2, 0, 1])
        own = value.operands[0].type.dims[-3:-1]
        top, bottom, left, right = one["pad"]
        reach = [
            (int(dim) - 1) * one["stride"][i] + one["dilation"][i] * (k - 1) + 1
            for i, (dim, k) in enumerate(zip(own, (kh, kw), strict=True))
        ]
        # what a window never reached at the far end is 0
        rest = [one["size"][0] + top + bottom - reach[0], one["size"][1] + left + right - reach[1]]

        def make(image: Term) -> Term:
            whole = self.node(
                "ConvTranspose",
                [image.text, kernel.text],
                y.dtype,
                strides=list(one["stride"]),
                dilations=list(one["dilation"]),
                group=groups,
            )
            pads = [-top, -left, rest[0] - bottom, rest[1] - right]
            if not any(pads):
                return whole
            axes = self.constant([2, 3], "i64").text
            return self.node(
                "Pad", [whole.text, self.constant(pads, "i64").text, self.number(0, y.dtype).text, axes], y.dtype
            )

        return self._on_images(value, y, make)

    def _pool(self, value: Value, x: Term) -> Term:
        one: Any = value.attributes
        top, bottom, left, right = one["pad"]
        kind = {"maxpool2d": "MaxPool", "avgpool2d": "AveragePool"}[value.operation]

        def make(image: Term) -> Term:
            pads = [top, left, bottom, right]
            return self.node(
                kind, [image.text], x.dtype, kernel_shape=list(one["size"]), strides=list(one["stride"]), pads=pads
            )

        return self._on_images(value, x, make)

    def _soft(self, value: Value, x: Term) -> Term:
        over: Any = value.attributes["over"]
        (axis,) = over
        if value.operation == "logsumexp":
            return self.node("ReduceLogSumExp", [x.text, self.constant([axis], "i64").text], x.dtype, keepdims=0)
        return self.node(
            {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[value.operation], [x.text], x.dtype, axis=axis
        )

    FORMS: ClassVar[Mapping[str, Callable[..., Term]]] = {
        "reshape": _reshape,
        "broadcast": _broadcast,
        "slice": _slice,
        "pad": _pad,
        "concat": _concat,
        "einsum": _einsum,
        "sum": _reduced,
        "max": _reduced,
        "min": _reduced,
        "argmax": _argmax,
        "scatter_add": _scatter,
        "segment_max": _scatter,
        "to_steps": _to_steps,
        "from_steps": _from_steps,
        "extent": _extent,
        "window": _window,
        "interleave": _interleave,
        "conv2d": _conv2d,
        "conv2d_input": _conv2d_input,
        "maxpool2d": _pool,
        "avgpool2d": _pool,
        "softmax": _soft,
        "log_softmax": _soft,
        "logsumexp": _soft,
        "relu": lambda self, value, x: self.node("Relu", [x.text], x.dtype),
        "minimum": lambda self, value, *pair: self._extreme("Min", value, pair),
        "maximum": lambda self, value, *pair: self._extreme("Max", value, pair),
        "transpose": lambda self, value, x: self.node(
            "Transpose", [x.text], x.dtype, perm=list(value.attributes["order"])
        ),
        "reverse": lambda self, value, x: self._flipped(value, x),
        "gather": lambda self, value, table, index: self.take(table, index),
        "arange": lambda self, value: self.constant(np.arange(value.attributes["n"]), "i32"),
    }

    def _extreme(self, operation: str, value: Value, pair: Sequence[Term]) -> Term:
        return self.node(operation, [self.cast(one, value.type.dtype).text for one in pair], value.type.dtype)

    def _flipped(self, value: Value, x: Term) -> Term:
        over: Any = value.attributes["over"]
        axes = list(over) if isinstance(over, tuple) else [over]
        own = [self.constant([n] * len(axes), "i64").text for n in (-1, -(2**31))]
        return self.node(
            "Slice",
            [x.text, *own, self.constant(axes, "i64").text, self.constant([-1] * len(axes), "i64").text],
            x.dtype,
        )


def _info(name: str, dtype: str, dims: Sequence[Dim] | None = None) -> onnx.ValueInfoProto:
    """What a graph says of its inputs and outputs; without dimensions, where they are seen from the rest."""
    return helper.make_tensor_value_info(name, _ELEMENTS[dtype], dims)


def _infos(*terms: Term) -> list[onnx.ValueInfoProto]:
    return [_info(term.text, term.dtype) for term in terms]
