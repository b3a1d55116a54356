"""Writes a model as ONNX (opset 18). The batch size and the sequence lengths stay free.

Sequences are padded, [batch, DIM, ...], with zeros beyond their ends; the input `length.DIM` holds each sample's number
of steps. Values that do not depend on the order of steps are computed on rows without padding.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from netc.compiler.export.cells import Cell, cell_of, gates
from netc.compiler.export.exportable import Array, Exported
from netc.compiler.export.onnx_columns import DOMAIN, VERSION, column_inputs, from_columns
from netc.compiler.export.onnx_forms import FORMS
from netc.compiler.export.onnx_nodes import OnnxNodes, info, infos
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import declared_dims
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Fold
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.types import BATCH, Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan, Slot, SlotKind
from netc.dsl.quoting import escaped, json_text

OPSET, _IR = 18, 8


def onnx_file(exported: Exported) -> bytes:
    """Returns the serialised model, after ONNX's own checker accepted it.

    Raises E1201 at an operation that ONNX does not have.
    """
    content: bytes = _OnnxFile(exported).model().SerializeToString()
    return content


class _OnnxFile(OnnxNodes):
    FORMS = FORMS

    # ------------------------------------------------------------ the model

    def model(self) -> onnx.ModelProto:
        exported = self.exported
        columns = column_inputs(self, exported.raw)
        plain = {name: type_ for name, type_ in exported.inputs.items() if name not in exported.raw}
        inputs = [*columns.values(), *(info(name, type_.dtype, _padded_dims(type_)) for name, type_ in plain.items())]
        for dim in declared_dims(exported):
            inputs.append(info(str(ResultKind.LENGTH.named(dim)), "i64", [BATCH]))
        self.sized = inputs[0].name
        leaves = {
            name: self.input_rows(name, type_) if type_.is_varying else Term(name, type_.dtype)
            for name, type_ in plain.items()
        }
        names = {column: entry.name for column, entry in columns.items()}
        for name, raw in exported.raw.items():
            leaves[name] = from_columns(self, raw, names, exported.inputs[name])
        outputs = self._outputs(self.walk(exported.graph, leaves), [entry.name for entry in inputs])
        nodes, initializers = self.needed([output.name for output in outputs])
        graph = helper.make_graph(nodes, escaped(exported.name), inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        if exported.raw:
            opsets.append(helper.make_opsetid(DOMAIN, VERSION))
        model = helper.make_model(graph, producer_name="netc", opset_imports=opsets, ir_version=_IR)
        notes = {name: escaped(note) for name, note in exported.notes.items()}
        tables = {"labels": exported.labels, **exported.facts}
        facts = {
            f"{table}.{name}": json_text(fact, is_ascii=False)
            for table in tables
            for name, fact in tables[table].items()
        }
        helper.set_model_props(model, {**notes, **facts})
        onnx.checker.check_model(model, full_check=True)
        return model

    def _outputs(self, terms: Mapping[Value, Term], inputs: Sequence[str]) -> list[onnx.ValueInfoProto]:
        """Names the results as outputs, sequences padded and followed by their lengths."""
        outputs = dict[str, onnx.ValueInfoProto]()

        def declare(name: str, term: Term, dtype: str, dims: Sequence[Dim]) -> None:
            self.nodes.append(helper.make_node("Identity", [term.text], [name]))
            outputs[name] = info(name, dtype, dims)

        for result, value in self.exported.graph.results.items():
            name = result.name if result.kind is ResultKind.OUTPUT else str(result)
            term, type_ = terms[value], value.type
            if name in inputs or name in outputs:
                continue  # a length that is an input, or an output already
            if type_.is_varying:
                rows = self.rows(str(type_.rows))
                term = self.by_samples(term, type_)
                length = str(ResultKind.LENGTH.named(str(type_.rows)))
                if length not in inputs and length not in outputs:
                    declare(length, rows.length.term, "i64", [BATCH])
            dims = [int(dim) if isinstance(dim, int) else dim for dim in _padded_dims(type_)]
            declare(name, term, type_.dtype, dims)
        return list(outputs.values())

    # ------------------------------------------------------------ scans

    def run_scan(self, scan: Scan, operands: Mapping[Slot, Term]) -> dict[Result, Term]:
        cell = cell_of(scan) if scan.body.precision == "f32" else None  # onnxruntime has f32 kernels only
        captured = [term for slot, term in operands.items() if slot.kind is SlotKind.CAPTURED]
        if cell is not None and all(term.text in self.arrays for term in captured):
            return self._cell(scan, cell, operands)
        return self._loop(scan, operands)

    def _cell(self, scan: Scan, cell: Cell, operands: Mapping[Slot, Term]) -> dict[Result, Term]:
        """Writes the scan as one of ONNX's recurrent layers."""
        rows, sequence = self.rows(scan.dim), operands[SlotKind.STEP_INPUT.slot(0)]
        dtype = sequence.dtype
        captured = [SlotKind.CAPTURED.slot(i) for i in range(len(scan.captured))]
        parameters = [self.arrays[operands[slot].text] for slot in captured]
        weights = _cell_weights(parameters, cell.order)
        x = self.to_padded(sequence, scan.sequences[0].type, scan.dim)
        initial = [
            self.node("Unsqueeze", [operands[SlotKind.CARRY.slot(i)].text, self.constant([0], "i64").text], dtype).text
            for i in range(cell.carries)
        ]
        lengths = self.cast(rows.length.term, "i32").text
        states, *lasts = self.several(
            cell.operation,
            [x, *(self.constant(array, dtype).text for array in weights), lengths, *initial],
            dtype,
            1 + cell.carries,
            hidden_size=int(weights[1].shape[-1]),
            direction="reverse" if scan.is_reversed else "forward",
            **dict(cell.attributes),
        )
        steps = self.node("Squeeze", [states.text, self.constant([1], "i64").text], dtype)
        parts = {
            ResultKind.LAST.named(i): self.node("Squeeze", [last.text, self.constant([0], "i64").text], dtype)
            for i, last in enumerate(lasts)
        }
        for name, value in scan.body.results_of(ResultKind.YIELD).items():
            if value is not scan.body.results[ResultKind.NEXT.named(0)]:
                return self._loop(scan, operands)  # ONNX gives only the last step of an LSTM's cell state
            parts[ResultKind.YIELD.named(name)] = self.from_padded(steps.text, dtype, value.type, scan.dim)
        return parts

    def _loop(self, scan: Scan, operands: Mapping[Slot, Term]) -> dict[Result, Term]:
        """Writes the scan as ONNX's Scan over padded steps. A sample's carries keep their values beyond its end."""
        rows, leaves_read = self.rows(scan.dim), scan.leaves()
        steps = self.node("Range", [self.number(0, "i64").text, rows.most.text, self.number(1, "i64").text], "i64")
        carries = [slot for slot in operands if slot.kind is SlotKind.CARRY]
        sequences = [slot for slot in operands if slot.kind is SlotKind.STEP_INPUT and slot in leaves_read]
        padded = [
            self.to_padded(operands[slot], operand.type, scan.dim)
            for slot, operand in scan.operand_of().items()
            if slot in sequences
        ]
        body, outputs = self._loop_body(scan, operands, carries, sequences)
        yields = scan.body.results_of(ResultKind.YIELD)
        direction, inputs = int(scan.is_reversed), len(sequences) + 1
        stacked = self.several(
            "Scan",
            [*(operands[slot].text for slot in carries), *padded, steps.text],
            "f32",
            len(outputs),
            body=body,
            num_scan_inputs=inputs,
            scan_input_directions=[direction] * inputs,
            **({"scan_output_directions": [direction] * len(yields)} if yields else {}),
        )
        typed = [Term(term.text, output.dtype) for term, output in zip(stacked, outputs, strict=True)]
        parts = {ResultKind.LAST.named(slot.index): term for slot, term in zip(carries, typed, strict=False)}
        for (name, value), term in zip(yields.items(), typed[len(carries) :], strict=True):
            parts[ResultKind.YIELD.named(name)] = self.from_padded(term.text, term.dtype, value.type, scan.dim)
        return parts

    def _loop_body(
        self, scan: Scan, operands: Mapping[Slot, Term], carries: Sequence[Slot], sequences: Sequence[Slot]
    ) -> tuple[onnx.GraphProto, list[Term]]:
        """Writes one step of a scan. Returns its graph, and the outputs of that: the next carries, then the yields."""
        self.count += 1
        tag = f"s{self.count}"
        leaves = {slot: Term(self.unique(f"{tag}_{slot}"), operands[slot].dtype) for slot in (*carries, *sequences)}
        captured = {slot: term for slot, term in operands.items() if slot.kind is SlotKind.CAPTURED}
        step = Term(self.unique(f"{tag}_step"), "i64")
        outputs = list[Term]()
        with self.inside() as nodes:
            terms = self.walk(scan.body, {str(slot): term for slot, term in {**leaves, **captured}.items()})
            is_running = self.node("Less", [step.text, self.rows(scan.dim).length.term.text], "bool")
            for slot in carries:
                value = scan.body.results[ResultKind.NEXT.named(slot.index)]
                outputs.append(self._next_carry(leaves[slot], terms[value], is_running, value.type.rank))
            for value in scan.body.results_of(ResultKind.YIELD).values():
                self.count += 1
                outputs.append(Term(self.unique(f"{tag}_yield_{self.count}"), terms[value].dtype))
                nodes.append(helper.make_node("Identity", [terms[value].text], [outputs[-1].text]))
        inputs = infos(*leaves.values()) + [info(step.text, step.dtype, [])]
        return helper.make_graph(nodes, f"{tag}_body", inputs, infos(*outputs)), outputs

    def _next_carry(self, carry: Term, next_: Term, is_running: Term, rank: int) -> Term:
        """Returns the next value of a carry where a sample still runs, and its present value elsewhere."""
        shape = self.constant([-1, *(1,) * (rank - 1)], "i64").text
        mask = self.node("Reshape", [is_running.text, shape], "bool")
        return self.node("Where", [mask.text, next_.text, carry.text], next_.dtype)

    def custom_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        """Writes a reduction with a combining function as a Scan over the elements. Returns None for other kernels."""
        lower = value.lower
        if not isinstance(lower, Fold):
            return None
        over, dtype, rank = value.attributes_as(Over).over, value.type.dtype, value.operands[0].type.rank
        order = [*over, *(axis for axis in range(rank) if axis not in over)]
        moved = self.node("Transpose", [operands[0].text], dtype, perm=order)
        rest = (
            self.node("Shape", [moved.text], "i64", start=len(over)) if rank > len(over) else self.constant([], "i64")
        )
        shape = self.node("Concat", [self.constant([-1], "i64").text, rest.text], "i64", axis=0)
        elements = self.node("Reshape", [moved.text, shape.text], dtype)
        initial = self.node("Expand", [self.number(float(lower.initial), dtype).text, rest.text], dtype)
        self.count += 1
        pair = {name: Term(self.unique(f"fold_{self.count}_{name}"), dtype) for name in ("a", "b")}
        with self.inside() as nodes:
            total = self.node("Identity", [translate(lower.combine, pair, {}, dtype, self).text], dtype)
        body = helper.make_graph(nodes, f"fold_{self.count}", infos(*pair.values()), infos(total))
        return self.node("Scan", [initial.text, elements.text], dtype, body=body, num_scan_inputs=1)


def _padded_dims(type_: Type) -> list[Dim]:
    """The dimensions of an input or output: a sequence is [batch, DIM, ...] outside of the graph."""
    return [BATCH, *type_.dims] if type_.is_varying else list(type_.dims)


def _cell_weights(parameters: Sequence[Array], order: tuple[int, ...]) -> list[Array]:
    """W, R and B of ONNX's recurrent layers, from netc's W, U and biases; a missing second bias is zero."""
    w, u = (array for array in parameters if array.ndim == 2)
    biases = [array for array in parameters if array.ndim == 1]
    biases += [np.zeros_like(biases[0]) for _ in range(2 - len(biases))]
    return [
        gates(w, order).T[None],
        gates(u, order).T[None],
        np.concatenate([gates(bias, order) for bias in biases])[None],
    ]
