"""A model that runs: parameters and states in one flat memory, and the steps over it, compiled or interpreted."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from netc.compiler import pipeline
from netc.compiler.graph import Graph
from netc.compiler.kernels.build import Linked, build
from netc.compiler.model import Model
from netc.compiler.passes.lower import lower
from netc.compiler.passes.plan import Plan, Slot, layout, plan
from netc.compiler.reference import evaluate
from netc.compiler.types import NUMPY, Type
from netc.runtime.random import initial

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Backend = Literal["numba", "reference"]


class Memory:
    """Bytes at an address that is a multiple of 64, and arrays that are views of them."""

    def __init__(self, size: int) -> None:
        self._bytes = np.zeros(size + 64, np.uint8)
        self._start = -self._bytes.ctypes.data % 64
        self.address = self._bytes.ctypes.data + self._start

    def view(self, offset: int, type_: Type, batch: int) -> Array:
        raw = self._bytes[self._start + offset : self._start + offset + type_.nbytes(batch)]
        return raw.view(NUMPY[type_.dtype]).reshape(type_.shape(batch))


class Step:
    """One graph, ready to run on batches of up to `batch` samples."""

    def __init__(self, graph: Graph, program: "Program", batch: int, backend: Backend) -> None:
        self.graph, self.program, self.batch = pipeline.run_passes(graph), program, batch
        self.plan: Plan | None = None
        self.linked: Linked | None = None
        if backend == "numba":
            self.plan = plan_step(self.graph, program.offsets, batch)
            self.linked = build(self.plan.calls)
            self.arena = Memory(self.plan.arena)

    def run(self, fields: Arrays, count: int) -> dict[str, Array]:
        """Every result but updates, which go into the program's memory. Arrays have `count` samples; results are fresh copies."""
        if self.plan is None or self.linked is None:
            return self._interpret(fields, count)
        for name, slot in self.plan.leaves.items():
            if slot.memory == 1:
                self._view(slot, count)[...] = fields[name]
        self.linked.run(self.program.memory.address, self.arena.address, count)
        return {
            name: self._view(slot, count).copy()
            for name, slot in self.plan.results.items()
            if not name.startswith("update.")
        }

    def _view(self, slot: Slot, count: int) -> Array:
        return self.arena.view(slot.offset, slot.buffer.type, count)

    def _interpret(self, fields: Arrays, count: int) -> dict[str, Array]:
        results = evaluate(self.graph, {**self.program.persistent, **fields}, count)
        for name, value in results.items():
            if name.startswith("update."):
                self.program.persistent[name.removeprefix("update.")][...] = value
        return {name: value for name, value in results.items() if not name.startswith("update.")}


def plan_step(graph: Graph, offsets: dict[str, int], batch: int) -> Plan:
    """The plan of a graph that went through the passes."""
    return plan(lower(graph), offsets, batch)


def persistent_layout(graph: Graph) -> tuple[dict[str, Type], dict[str, int], int]:
    """What stays between steps: types and offsets by name, and its bytes."""
    types = {
        str(value.attributes["name"]): value.type for kind in ("parameter", "state") for value in graph.values(kind)
    }
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    return types, offsets, size


class Program:
    """A compiled model: its parameters, and prediction, gradients and training steps over them.

    `batch` is the most samples that one step takes; larger arrays are cut into batches by `predict`.
    """

    def __init__(
        self, model: Model, seed: int | None = None, backend: Backend = "numba", batch: int | None = None
    ) -> None:
        self.model, self.backend = model, backend
        self.batch = batch or model.train.batch
        self.seed = model.train.seed if seed is None else seed
        has_loss = any(name.startswith("loss.") for name in model.graph.results)
        graph = pipeline.training_graph(model) if has_loss else model.graph
        self._training_graph = graph
        types, self.offsets, size = persistent_layout(graph)
        self.memory = Memory(size)
        self.persistent = {name: self.memory.view(self.offsets[name], type_, 1) for name, type_ in types.items()}
        for name, info in model.trainables.items():
            self.persistent[name][...] = initial(info, self.seed)
        self.parameters = {name: self.persistent[name] for name in model.parameters}
        self._steps: dict[object, Step] = {}
        self._evaluations: dict[frozenset[str], pipeline.Evaluation] = {}

    def _step(self, key: object, graph: Any, batch: int) -> Step:
        if key not in self._steps:
            self._steps[key] = Step(graph() if callable(graph) else graph, self, batch, self.backend)
        return self._steps[key]

    @property
    def training(self) -> Step:
        return self._step("training", self._training_graph, self.batch)

    def step(self, fields: Arrays) -> dict[str, float]:
        """One step of the optimizer on a batch; returns each loss by name and `loss`, their sum."""
        count = self._check(fields, {**self.model.inputs, **self.model.targets})
        results = self.training.run(fields, count)
        return {
            **{name.removeprefix("total."): float(value) for name, value in results.items() if name != "total"},
            "loss": float(results["total"]),
        }

    def predict(self, fields: Arrays) -> dict[str, Array]:
        """The outputs for any number of samples."""
        count = self._check(fields, self._needed("output."), None)
        step = self._step("prediction", lambda: pipeline.prediction_graph(self.model), self.batch)
        parts = [
            step.run({name: array[at : at + self.batch] for name, array in fields.items()}, min(self.batch, count - at))
            for at in range(0, count, self.batch)
        ]
        return {
            name.removeprefix("output."): np.concatenate([part[name] for part in parts])
            if step.graph.results[name].type.is_batched
            else parts[0][name]
            for name in parts[0]
        }

    def gradients(self, fields: Arrays, wrt: tuple[str, ...] = ()) -> tuple[float, dict[str, Array]]:
        """The loss of a batch, as a training step has it, and its gradient for every parameter and the inputs of `wrt`."""
        count = self._check(fields, {**self.model.inputs, **self.model.targets})
        step = self._step(("gradients", wrt), lambda: pipeline.gradient_graph(self.model, wrt), self.batch)
        results = step.run(fields, count)
        return float(results["total"]), {
            name.removeprefix("gradient."): value for name, value in results.items() if name.startswith("gradient.")
        }

    def evaluate(self, fields: Arrays, undo: Mapping[str, Callable[[Array], Array]] | None = None) -> dict[str, float]:
        """Each loss and metric over all samples given: a loss is its sum over its count, a metric a figure of the whole.

        `undo` gives, for a target, what brings it back to the units of the data; metrics are then in these units.
        """
        undo = undo or {}
        count = self._check(fields, {**self.model.inputs, **self.model.targets}, None)
        key = ("evaluation", frozenset(undo))
        if key not in self._steps:
            self._evaluations[key[1]] = pipeline.evaluation_graphs(self.model, key[1])
        plan_of = self._evaluations[key[1]]
        step = self._step(key, plan_of.batches, self.batch)
        parts = [
            step.run({name: array[at : at + self.batch] for name, array in fields.items()}, min(self.batch, count - at))
            for at in range(0, count, self.batch)
        ]
        whole = {
            name: np.concatenate([part[name] for part in parts])
            if step.graph.results[name].type.is_batched
            else parts[0][name]
            for name in parts[0]
        }
        losses = {
            name.removeprefix("loss."): float(np.mean(value, dtype=np.float64))
            for name, value in whole.items()
            if name.startswith("loss.")
        }
        collected = {
            name.removeprefix("collect."): value for name, value in whole.items() if name.startswith("collect.")
        }
        collected.update({name: undo[target](collected[name]) for name, target in plan_of.units.items()})
        metrics = evaluate(plan_of.whole, {**self.persistent, **collected}, count)
        figures = {
            name.removeprefix("metric."): float(np.mean(value, dtype=np.float64)) for name, value in metrics.items()
        }
        total = {"loss": sum(losses.values())} if losses else {}
        return {**total, **(losses if len(losses) > 1 else {}), **figures}

    def _needed(self, prefix: str) -> dict[str, Type]:
        leaves = self.model.graph.of(prefix).values("input")
        return {str(value.attributes["name"]): value.type for value in leaves}

    def _check(self, fields: Arrays, types: Mapping[str, Type], most: int | None = 0) -> int:
        """The number of samples; raises ValueError where a field is missing or of another shape."""
        counts = set()
        for name, type_ in types.items():
            if name not in fields:
                raise ValueError(f"the field `{name}` is missing: {type_}")
            shape = np.shape(fields[name])
            if shape[1:] != type_.shape(1)[1:] or not shape:
                raise ValueError(f"the field `{name}` has the shape {list(shape)}, the model takes {type_}")
            counts.add(shape[0])
        if len(counts) != 1:
            raise ValueError("the fields hold different numbers of samples" if counts else "there is no field to read")
        count = counts.pop()
        if count == 0 or (most == 0 and count > self.batch):
            raise ValueError(f"{count} samples in a batch of at most {self.batch}")
        return int(count)
