"""Checks of the numbers of a graph after a pass.

Each check computes the expected numbers without the pass: by the graph before, by finite differences, or by a formula
in NumPy.
"""

from typing import Any

import ml_dtypes
import numpy as np
from golden_numbers import SAMPLES, Numbers, evaluate_with_derivatives, gradient_of, results_of
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, parse_table
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.scan import scans
from netc.compiler.passes.objective import ACCUMULATED
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.compiler.passes.scans import first_dim
from netc.compiler.passes.truncate import FIRST
from netc.compiler.passes.update import STEP
from netc.compiler.reference import evaluate
from netc.runtime.verification.interpreter import results

Array = np.ndarray[Any, Any]
_OF_DERIVATIVES = 1e-6


class Checked(Struct, frozen=True):
    """The graphs before and after a pass, the arguments of the pass, and the tolerance of a check."""

    before: Graph
    after: Graph
    arguments: dict[str, Any]
    tolerance: float

    def near(self, name: str, actual: Array, expected: Array, tolerance: float | None = None) -> None:
        limit = self.tolerance if tolerance is None else tolerance
        np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit, equal_nan=True, err_msg=name)

    def same_results(self, numbers: Numbers) -> dict[str, Array]:
        """Asserts that every result of the graph before is a result of the graph after, and equal.

        Returns the latter's results.
        """
        training = self.arguments.get("training")
        expected = results_of(self.before, numbers, training)
        actual = results_of(self.after, numbers, training)
        before, after = self.before.printed_results(), self.after.printed_results()
        for name, array in expected.items():
            old, new = before[name].type, after[name].type
            assert (new.dtype, new.dims) == (old.dtype, old.dims), name
            self.near(name, actual[name], array)
        return actual

    @property
    def is_f64(self) -> bool:
        """Whether the graph is in f64, which finite differences need."""
        return self.before.precision == "f64"


def same(checked: Checked) -> None:
    checked.same_results(Numbers(checked.before))


def narrowed(checked: Checked) -> None:
    """Compares results with those of products whose operands ml_dtypes rounds; a product with 0 and 1 only adds."""
    is_bf16 = not checked.is_f64 and checked.arguments.get("precision", "bf16") == "bf16"
    factors = {
        **dict.fromkeys(("einsum", "conv2d", "conv2d_input", "conv2d_weights"), (0, 1)),
        **{"attend": (0, 1, 2), "attend_sums": (1, 2), "attend_gradient": (0, 1, 2, 3)},
    }

    def with_rounded(value: Value, operands: list[Array], array: Array) -> Array:
        factored = factors.get(value.operation, ()) if is_bf16 else ()
        if not factored or any(np.isin(operand, (0, 1)).all() for operand in operands):
            return array
        rounded = [
            operand.astype(ml_dtypes.bfloat16).astype(np.float32) if i in factored else operand
            for i, operand in enumerate(operands)
        ]
        return np.asarray(OPERATIONS[value.operation].reference(*rounded, **value.keywords), array.dtype)

    numbers = Numbers(checked.before)
    expected = results(checked.before, numbers.leaves, numbers.sizes, with_rounded)
    for name, array in evaluate(checked.after, numbers.leaves, numbers.sizes).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def by_rank(checked: Checked) -> None:
    """Compares results when the pass sorts samples: the interpreter is told that the sample of a row is its rank."""
    numbers, order = Numbers(checked.before), first_dim(checked.before)
    expected = results_of(checked.before, numbers)
    numbers.add(checked.after)
    for scan in scans(checked.after):
        if scan.dim != order:
            rows = numbers.rows[scan.dim]
            ranks = rows.table(TableKind.FIRST)[rows.table(TableKind.SAMPLE)]
            numbers.leaves[str(IndexTable(TableKind.SAMPLE, scan.dim))] = ranks
    for name, array in evaluate(checked.after, numbers.leaves, numbers.sizes).items():
        checked.near(name, array, expected[name])


def gradients(checked: Checked) -> None:
    """Asserts that each `gradient.NAME` is the derivative of the result that the heading names."""
    numbers = Numbers(checked.before)
    actual = checked.same_results(numbers)
    if checked.is_f64:
        for name in checked.arguments["wrt"]:
            expected = gradient_of(checked.before, checked.arguments["of"], name, numbers)
            checked.near(name, actual[f"gradient.{name}"], expected, _OF_DERIVATIVES)


def derivatives(checked: Checked) -> None:
    if checked.is_f64:
        numbers = Numbers(checked.before)
        actual = results_of(checked.after, numbers)
        for name, expected in evaluate_with_derivatives(checked.before, numbers.leaves, numbers.sizes).items():
            checked.near(name, actual[name], expected, _OF_DERIVATIVES)


# ------------------------------------------------------------------ the objective


def total(checked: Checked) -> None:
    numbers = Numbers(checked.before)
    actual = checked.same_results(numbers)
    means, factors = list[Array](), list[Array]()
    for name in _losses(checked.before):
        loss, weight = actual[f"loss.{name}"], actual.get(f"weight.loss.{name}")
        means.append(loss.sum() / (loss.size if weight is None else weight.sum()))
        factors.append(numbers.leaves.get(str(SuppliedKind.LOSS_FACTOR.named(name)), np.ones(())))
        checked.near(name, actual[f"total.{name}"], means[-1])
    checked.near("total", actual["total"], np.sum(means))
    checked.near("small", actual["small"], np.dot(means, factors))


def _losses(graph: Graph) -> list[str]:
    return list(graph.results_of(ResultKind.LOSS))


def _groups(checked: Checked, numbers: Numbers) -> dict[str, tuple[float, dict[str, Array]]]:
    """For each group of losses, the number of elements and the gradients of their sum, by finite differences."""
    results, perturbed = results_of(checked.before, numbers), dict[str, tuple[float, dict[str, Array]]]()
    for name in _losses(checked.before):
        loss, weight, type_ = (
            results[f"loss.{name}"],
            results.get(f"weight.loss.{name}"),
            checked.before.results[parse_result(f"loss.{name}")].type,
        )
        group = f"{type_.size(1)} a row of {type_.rows}" if type_.is_batched else "step"
        count, group = (loss.size, group) if weight is None else (weight.sum(), f"weights of {name}")
        differences = perturbed.setdefault(group, (count, {wrt: np.zeros(()) for wrt in checked.arguments["wrt"]}))[1]
        for wrt in differences:
            differences[wrt] = differences[wrt] + gradient_of(checked.before, f"loss.{name}", wrt, numbers)
    return perturbed


def accumulated(checked: Checked) -> None:
    """Asserts that sums and counts are added to the states. A loss without data is left for the last batch."""
    if checked.is_f64:
        numbers = Numbers(checked.before)
        actual = checked.same_results(numbers)
        groups = _groups(checked, numbers)
        assert {name for name in actual if name.startswith("update.")} == {
            f"update.{ACCUMULATED}{group}{end}"
            for group in set(groups) - {"step"}
            for end in ("", *(f".{name}" for name in checked.arguments["wrt"]))
        }
        for group in set(groups) - {"step"}:
            count, sums = groups[group]
            for name, number in (
                (f"{ACCUMULATED}{group}", np.asarray(count)),
                *((f"{ACCUMULATED}{group}.{wrt}", sums[wrt]) for wrt in sums),
            ):
                checked.near(name, actual[f"update.{name}"], numbers.leaves[name] + number, _OF_DERIVATIVES)


def accumulated_gradients(checked: Checked) -> None:
    """Asserts that gradients are sums over all batches divided by counts over all batches.

    The states must be 0 again.
    """
    if checked.is_f64:
        numbers = Numbers(checked.before)
        for group in set(_groups(checked, numbers)) - {"step"}:
            numbers.leaves[f"{ACCUMULATED}{group}"] = np.asarray(5.0)
        actual = checked.same_results(numbers)
        for wrt in checked.arguments["wrt"]:
            total = np.zeros(())
            for group, (count, sums) in _groups(checked, numbers).items():
                before, number = (numbers.leaves.get(f"{ACCUMULATED}{group}{end}", 0.0) for end in (f".{wrt}", ""))
                total = total + (before + sums[wrt]) / (number + count)
            checked.near(wrt, actual[f"gradient.{wrt}"], total, _OF_DERIVATIVES)
        for name in actual:
            if name.startswith("update."):
                checked.near(name, actual[name], np.zeros(actual[name].shape))


# ------------------------------------------------------------------ the optimizer, and what the runtime gives


def updated(checked: Checked) -> None:
    """Compares the parameters' next values with the formulas of PyTorch's documentation."""
    numbers = Numbers(checked.before)
    results_of(checked.before, numbers)
    numbers.add(checked.after)
    for value in checked.after.values(Role.STATE):  # second moments are sums of squares
        name = value.name
        numbers.leaves[name] = np.abs(numbers.leaves[name])
    numbers.leaves[STEP] = np.asarray(2.0)
    how = checked.arguments
    for value in checked.after.values(Role.GIVEN):
        supplied = parse_supplied(value.name)
        assert supplied is not None
        numbers_of_update = {**OPTIMIZERS[how["optimizer"]].numbers, **how}
        numbers.leaves[value.name] = np.asarray(numbers_of_update[supplied.name or "lr"])
    actual = checked.same_results(numbers)
    gradients = checked.before.select(ResultKind.GRADIENT, actual)
    if "clip_norm" in how:
        norm = np.sqrt(sum((array**2).sum() for array in gradients.values()))
        gradients = {name: array * min(1.0, how["clip_norm"] / (norm + 1e-6)) for name, array in gradients.items()}
    for name, gradient in gradients.items():
        rate = how["lr"] * dict(how.get("lr_scale", ())).get(name, 1.0)
        rule = _sgd if how["optimizer"] == "sgd" else _adam
        for result, expected in rule(name, numbers.leaves, gradient, rate, how).items():
            checked.near(result, actual[result], expected)
    checked.near(STEP, actual[f"update.{STEP}"], np.asarray(3.0))


def _sgd(name: str, leaves: dict[str, Array], gradient: Array, rate: Array, how: dict[str, Any]) -> dict[str, Array]:
    gradient = gradient + how.get("decay", 0.0) * leaves[name]
    if not how.get("momentum"):
        return {f"update.{name}": leaves[name] - rate * gradient}
    velocity = how["momentum"] * leaves[f"velocity.{name}"] + gradient
    move = gradient + how["momentum"] * velocity if how.get("nesterov") else velocity
    return {f"update.{name}": leaves[name] - rate * move, f"update.velocity.{name}": velocity}


def _adam(name: str, leaves: dict[str, Array], gradient: Array, rate: Array, how: dict[str, Any]) -> dict[str, Array]:
    first = 0.9 * leaves[f"first_moment.{name}"] + 0.1 * gradient
    second = 0.999 * leaves[f"second_moment.{name}"] + 0.001 * gradient**2
    step = leaves[STEP] + 1
    move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return {
        f"update.{name}": leaves[name] - rate * move,
        f"update.first_moment.{name}": first,
        f"update.second_moment.{name}": second,
    }


def from_bytes(checked: Checked) -> None:
    """Asserts that an input equals its bytes times the factor that the runtime provides."""
    numbers = Numbers(checked.after)
    actual = results_of(checked.after, numbers)
    for name in checked.arguments["names"]:
        numbers.leaves[name] = numbers.leaves[name] * numbers.leaves[str(SuppliedKind.SCALE.named(name))]
    for name, array in results_of(checked.before, numbers).items():
        checked.near(name, actual[name], array)


def chunk_by_chunk(checked: Checked) -> None:
    """Compares two runs of the graph of a chunk with one run over the sequences of two chunks.

    The second run begins with the states after the first.
    """
    steps, dim = checked.arguments["steps"], checked.arguments["dim"]
    numbers, chunk = Numbers(checked.before, steps=2 * steps), Numbers(checked.after, steps=steps)
    expected = results_of(checked.before, numbers)
    row_leaves = [value.name for value in checked.before.values() if value.type.rows == dim and value.name]
    for name in set(numbers.leaves) & set(chunk.leaves):
        if parse_table(name) is None:
            chunk.leaves[name] = numbers.leaves[name]
    parts = list[dict[str, Array]]()
    for number in range(2):
        rows = slice(number * steps * SAMPLES, (number + 1) * steps * SAMPLES)
        for name in row_leaves:
            if parse_table(name) is None:
                chunk.leaves[name] = numbers.leaves[name][rows]
        chunk.leaves[FIRST] = np.array([1.0 - number])
        parts.append(evaluate(checked.after, chunk.leaves, chunk.sizes))
        chunk.leaves.update(
            {str(key): parts[-1][str(key)] for key in checked.after.results if key.kind is ResultKind.CHUNK}
        )
    for name, value in checked.before.printed_results().items():
        joined = np.concatenate([part[name] for part in parts]) if value.type.rows == dim else parts[1][name]
        checked.near(name, joined, expected[name])
