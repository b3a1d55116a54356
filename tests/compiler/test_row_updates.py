"""Lookups in large tables: a step changes the touched rows, and computes the others without a gradient."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import run_passes, training_graph
from netc.compiler.targets.named import machine_for

Array = np.ndarray[Any, Any]
ROWS = 200  # of the table: more than four for each lookup of a batch
TOUCHED = 12  # the batches name the first rows alone, and each of them several times

LOOKUP = "  h = mean(e[t], over = time)"
SEVERAL = "  h = mean(e[s], over = 0) * e[s[0]] + e[s[1]]"
BOTH = "  h = mean(e[t], over = time) * e[s[0]]"  # along different dimensions
SCAN = "  h = scan k in t with c = zeros(4) {\n    c = tanh(c + e[k])\n    yield c\n  } -> last"
TIED = "  h = softmax(mean(e[s], over = 0) @ transpose(e)) @ e"
BOUNDED, UNBOUNDED = "time <= 4", "time"  # a batch has at most 32 lookups, or any number of them
LAZY = (
    "sgd(lr = 0.1, momentum = 0.9, lazy = true)",
    "adam(lr = 0.1, decay = 0.1, lazy = true)",
    "adamw(lr = 0.1, decay = 0.5, lazy = true)",
    "rmsprop(lr = 0.1, momentum = 0.5, lazy = true)",
    "adagrad(lr = 0.1, lazy = true)",
)


def text_of(lookups: str, optimizer: str, settings: str = "", time: str = BOUNDED, rows: int = ROWS) -> str:
    return f"""model {{
  input t: class({rows})[{time}]
  input s: class({rows})[2]
  target y: float[4]
  param e: float[{rows}, 4] = normal(1)
{lookups}
  output z = h -> dense(4)
  loss mse(z, y)
}}
train {{
  optimizer = {optimizer}
  batch = 8
  precision = f64
  {settings}
}}
"""


def by_products(text: str) -> str:
    """The same lookups as products with one-hot rows, whose gradients are dense."""
    for index in ("t", "s", "s[0]", "s[1]", "k"):
        text = text.replace(f"e[{index}]", f"(one_hot({index}) @ e)")
    return text


def fields_of(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    return {
        "t": [rng.integers(0, TOUCHED, n).astype(np.int32) for n in (3, 1, 2, 4, 4, 1, 2, 3)],
        "s": rng.integers(6, TOUCHED, (8, 2)).astype(np.int32),
        "y": rng.standard_normal((8, 4)),
    }


def trained(text: str, backend: str = "reference", threads: int = 1) -> dict[str, Array]:
    """Parameters and states before the first step and after each of three."""
    program = netc.compile(netc.parse(text), seed=1, backend=backend, threads=threads)
    program.persistent["e"][...] = np.random.default_rng(0).standard_normal(program.persistent["e"].shape)
    history = [{name: array.copy() for name, array in program.persistent.items()}]
    for step in range(3):
        program.step(fields_of(step))
        history.append({name: array.copy() for name, array in program.persistent.items()})
    return {name: np.stack([arrays[name] for arrays in history]) for name in history[0]}


def table_operations(text: str) -> list[str]:
    """The operations of a step whose result has as many elements as the table."""
    graph = run_passes(training_graph(netc.parse(text)))
    return [value.operation for value in graph.values() if value.type.dims == (ROWS, 4) and value.operands]


def near(actual: dict[str, Array], expected: dict[str, Array]) -> None:
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("lookups", "optimizer", "settings"),
    [
        (LOOKUP, "sgd(lr = 0.1)", ""),
        (SCAN, "sgd(lr = 0.1)", "schedule = cosine"),
        (SEVERAL, "sgd(lr = 0.1)", "clip_norm = 0.05"),
        (SEVERAL, "sgd(lr = 0.1)", 'clip_value = 0.02\n  lr_scale = ("e" = 0.5)'),
        (LOOKUP, "sgd(lr = 0.1, momentum = 0.9, nesterov = true, decay = 0.1)", ""),
        (SEVERAL, "adam(lr = 0.1)", ""),
        (SCAN, "adam(lr = 0.1, decay = 0.1)", "clip_norm = 0.05"),
        (LOOKUP, "adamw(lr = 0.1, decay = 0.5)", "clip_value = 0.02"),
        (SEVERAL, "rmsprop(lr = 0.1, momentum = 0.5)", ""),
        (LOOKUP, "adagrad(lr = 0.1, lr_decay = 0.1)", ""),
        (LOOKUP, "adagrad(lr = 0.1, decay = 0.1)", ""),
    ],
)
def test_a_step_by_rows_gives_the_numbers_of_a_dense_one(lookups: str, optimizer: str, settings: str) -> None:
    text = text_of(lookups, optimizer, settings)
    operations = table_operations(text)
    assert "put" in operations
    assert "scatter_add" not in operations
    near(trained(text), trained(by_products(text)))


@pytest.mark.parametrize("optimizer", ["sgd(lr = 0.1)", "adagrad(lr = 0.1)", "adam(lr = 0.1, lazy = true)"])
def test_a_step_has_no_value_of_the_size_of_the_table_but_new_rows_in_their_place(optimizer: str) -> None:
    graph = run_passes(training_graph(netc.parse(text_of(SEVERAL, optimizer))))
    tables = [value for value in graph.values() if value.type.dims == (ROWS, 4)]
    assert {value.operation for value in tables if value.operands} == {"put"}
    for task in lower(graph, 8, machine_for()).tasks:
        assert task.axis != ROWS
        assert all(p.buffer.kind == "persistent" for p in task.pointers if p.buffer.type.dims == (ROWS, 4))


@pytest.mark.parametrize("lookups", [TIED, BOTH])
def test_a_table_that_is_read_in_other_ways_has_a_dense_gradient(lookups: str) -> None:
    text = text_of(lookups, "adam(lr = 0.1)")
    assert "put" not in table_operations(text)
    near(trained(text), trained(by_products(text)))


def test_accumulated_gradients_are_dense() -> None:
    assert "put" not in table_operations(text_of(SEVERAL, "sgd(lr = 0.1)", "accumulate = 2"))


@pytest.mark.parametrize("optimizer", LAZY)
def test_lazy_leaves_moments_and_weights_of_other_rows_as_they_are(optimizer: str) -> None:
    """The rows that a batch does not touch keep their bits. The others are computed as if all rows were like them."""
    text = text_of(LOOKUP, optimizer)
    by_rows, by_mask = trained(text), trained(text_of(LOOKUP, optimizer, time=UNBOUNDED))
    near(by_rows, by_mask)
    for name in (name for name in by_rows if name == "e" or name.endswith(".e")):
        for step, (before, after) in enumerate(pairwise(by_rows[name])):
            touched = np.unique(np.concatenate(fields_of(step)["t"]))
            others = np.setdiff1d(np.arange(ROWS), touched)
            np.testing.assert_array_equal(before[others], after[others])
            assert (before[touched] != after[touched]).any(axis=1).all()


@pytest.mark.parametrize("optimizer", LAZY)
def test_lazy_changes_nothing_where_each_step_touches_all_rows(optimizer: str) -> None:
    text = text_of("  h = mean(e[s], over = 0)", optimizer, rows=TOUCHED)
    tables = []
    for case in (text, text.replace(", lazy = true", "")):
        program = netc.compile(netc.parse(case), seed=1, backend="reference")
        for step in range(3):
            labels = np.random.default_rng(step).permutation(np.arange(16) % TOUCHED).reshape(8, 2)
            program.step({**fields_of(step), "s": labels.astype(np.int32)})
        tables.append(program.persistent["e"])
    np.testing.assert_allclose(*tables, rtol=1e-9)


@pytest.mark.parametrize("lookups", [LOOKUP, BOTH])
def test_lazy_adam_agrees_with_pytorch(lookups: str) -> None:
    """torch.optim.SparseAdam, which adds eps before the correction of the second moment and not after it."""
    torch = pytest.importorskip("torch")
    text = text_of(lookups, "adam(lr = 0.1, eps = 1e-20, lazy = true)")
    ours = trained(text)
    table = torch.nn.Embedding(ROWS, 4, sparse=True, dtype=torch.float64)
    weights, bias = (torch.tensor(ours[name][0], requires_grad=True) for name in ("z.dense.W", "z.dense.b"))
    with torch.no_grad():
        table.weight.copy_(torch.tensor(ours["e"][0]))
    sparse = torch.optim.SparseAdam(list(table.parameters()), lr=0.1, eps=1e-20)
    others = torch.optim.Adam([weights, bias], lr=0.1, eps=1e-20)
    for step in range(3):
        fields = fields_of(step)
        rows = [table(torch.tensor(tokens, dtype=torch.long)).mean(0) for tokens in fields["t"]]
        h = torch.stack(rows)
        if lookups == BOTH:
            h = h * table(torch.tensor(fields["s"][:, 0], dtype=torch.long))
        loss = ((h @ weights + bias - torch.tensor(fields["y"])) ** 2).mean()
        for optimizer in (sparse, others):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in (sparse, others):
            optimizer.step()
        np.testing.assert_allclose(ours["e"][step + 1], table.weight.detach().numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("lookups", "optimizer", "settings"),
    [
        (LOOKUP, "sgd(lr = 0.1)", "clip_norm = 0.05"),
        (SEVERAL, "adam(lr = 0.1)", ""),
        (SCAN, "adamw(lr = 0.1, lazy = true)", ""),
        (BOTH, "adagrad(lr = 0.1, lazy = true)", ""),
    ],
)
def test_machine_code_gives_the_same_bits_on_any_number_of_threads(lookups: str, optimizer: str, settings: str) -> None:
    text = text_of(lookups, optimizer, settings)
    alone = trained(text, "cpu", 1)
    near(alone, trained(text))
    near(trained(text, "plan", 2), alone)
    for threads in (2, 3):
        for name, array in trained(text, "cpu", threads).items():
            np.testing.assert_array_equal(array, alone[name], err_msg=name)
