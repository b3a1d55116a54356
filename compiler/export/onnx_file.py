"""A model in use as ONNX (opset 18): batch and lengths are free, `length.DIM` says how many steps each sample has of a varying dimension.

Sequences come in padded, [batch, DIM, ...], and outputs go out so, zeros beyond their ends. Whatever is not along steps works on rows without padding.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from netc.compiler.export.cells import Cell, cell_of, gates
from netc.compiler.export.onnx_forms import FORMS
from netc.compiler.export.onnx_nodes import OnnxNodes, info, infos
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import Exported, Index, declared_dims
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import OPERATIONS, Fold, Value
from netc.compiler.operations.scan import Scan
from netc.dsl.quoting import escaped, json_text

OPSET, _IR = 18, 8


def onnx_file(exported: Exported) -> bytes:
    """The model, checked by ONNX's own checker. Faults E1201 for what ONNX has no operation for."""
    content: bytes = _OnnxFile(exported).model().SerializeToString()
    return content


class _OnnxFile(OnnxNodes):
    FORMS = FORMS

    # ------------------------------------------------------------ the model

    def model(self) -> onnx.ModelProto:
        exported = self.exported
        inputs, leaves = [], {}
        for name, type_ in exported.inputs.items():
            dims = [BATCH, *type_.dims] if type_.is_varying else list(type_.dims)
            inputs.append(info(name, type_.dtype, dims))
        for dim in declared_dims(exported):
            inputs.append(info(f"length.{dim}", "i64", [BATCH]))
        for name, type_ in exported.inputs.items():
            leaves[name] = self.given_rows(name, type_) if type_.is_varying else Term(name, type_.dtype)
        made = self.walk(exported.graph, leaves)
        outputs = list[onnx.ValueInfoProto]()
        for name, value in exported.graph.results.items():
            own, term = name.removeprefix("output."), made[value]
            if own in [one.name for one in (*inputs, *outputs)]:
                continue  # a length that is given, or told already
            dims = [BATCH, *value.type.dims] if value.type.is_varying else list(value.type.dims)
            if value.type.is_varying:
                rows = self.rows(str(value.type.rows))
                place = (rows.sample * Index(self, rows.most) + rows.step).term
                term = Term(self._scattered(term, place, rows, value.type.dims[1:], by_step=False), term.dtype)
                told = f"length.{value.type.rows}"
                if told not in [one.name for one in (*inputs, *outputs)]:
                    self.nodes.append(helper.make_node("Identity", [rows.length.term.text], [told]))
                    outputs.append(info(told, "i64", [BATCH]))
            shown = [int(dim) if isinstance(dim, int) else dim for dim in dims]
            self.nodes.append(helper.make_node("Identity", [term.text], [own]))
            outputs.append(info(own, value.type.dtype, shown))
        graph = helper.make_graph(self.nodes, escaped(exported.name), inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="netc", opset_imports=opsets, ir_version=_IR)
        notes = {name: escaped(note) for name, note in exported.notes.items()}
        labels = {f"labels.{name}": json_text(own, is_ascii=False) for name, own in exported.labels.items()}
        helper.set_model_props(model, {**notes, **labels})
        onnx.checker.check_model(model, full_check=True)
        return model

    # ------------------------------------------------------------ scans

    def run_scan(self, one: Scan, given: Mapping[str, Term]) -> dict[str, Term]:
        cell = cell_of(one) if one.body.precision == "f32" else None  # onnxruntime has its own for floats alone
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
        leaves = {name: Term(self.unique(f"{tag}_{name}"), given[name].dtype) for name in (*carries, *sequences)}
        known = {**leaves, **{name: term for name, term in given.items() if name[0] == "k"}}
        step = Term(self.unique(f"{tag}_step"), "i64")
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
                outputs.append(Term(self.unique(f"{tag}_yield_{self.count}"), made[value].dtype))
                nodes.append(helper.make_node("Identity", [made[value].text], [outputs[-1].text]))
        body = helper.make_graph(
            nodes, f"{tag}_body", infos(*leaves.values()) + [info(step.text, step.dtype, [])], infos(*outputs)
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
        over, dtype, rank = value.attributes_as(Over).over, value.type.dtype, value.operands[0].type.rank
        order = [*over, *(axis for axis in range(rank) if axis not in over)]
        moved = self.node("Transpose", [operands[0].text], dtype, perm=order)
        rest = (
            self.node("Shape", [moved.text], "i64", start=len(over)) if rank > len(over) else self.constant([], "i64")
        )
        wide = self.node("Concat", [self.constant([-1], "i64").text, rest.text], "i64", axis=0)
        rows = self.node("Reshape", [moved.text, wide.text], dtype)
        begin = self.node("Expand", [self.number(float(lower.initial), dtype).text, rest.text], dtype)
        self.count += 1
        pair = {name: Term(self.unique(f"fold_{self.count}_{name}"), dtype) for name in ("a", "b")}
        with self.inside() as nodes:
            total = self.node("Identity", [translate(lower.combine, pair, {}, dtype, self).text], dtype)
        body = helper.make_graph(nodes, f"fold_{self.count}", infos(*pair.values()), infos(total))
        return self.node("Scan", [begin.text, rows.text], dtype, body=body, num_scan_inputs=1)
