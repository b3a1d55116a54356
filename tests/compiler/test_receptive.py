"""The receptive field of a value in an image or a line, computed by the formula and found by moving one number."""

import numpy as np
import pytest

import netc
from netc.compiler.analysis.receptive import receptive_fields, windowed
from netc.compiler.ir.results import parse_result

LAYERS = [
    ("conv(2)", (3, 3)),
    ("conv(2) -> conv(2)", (5, 5)),
    ("conv(2) -> maxpool(2)", (4, 4)),
    ("conv(2) -> avgpool(2) -> conv(2)", (8, 8)),
    ("conv(2, stride = 2) -> conv(2, kernel = (1, 5))", (3, 11)),
    ("conv(2, dilation = 3)", (7, 7)),
]


@pytest.mark.parametrize(("layers", "size"), LAYERS)
def test_the_receptive_field_agrees_with_changing_pixels(layers: str, size: tuple) -> None:
    model = netc.parse(
        f"model {{\n  input x: float[32, 32, 1]\n  output y = x -> {layers}\n}}\ntrain {{ precision = f64 }}"
    )
    fields = receptive_fields(model.graph)
    assert fields[model.graph.results[parse_result("output.y")]].size == size
    program, x = netc.compile(model), np.random.default_rng(0).standard_normal((1, 32, 32, 1))
    still = program.predict({"x": x})["y"]
    at = tuple(dim // 2 for dim in still.shape[1:3])
    rows, columns = set(), set()
    for i in range(32):
        for j in range(32):
            moved = x.copy()
            moved[0, i, j, 0] += 100
            if not np.array_equal(program.predict({"x": moved})["y"][0, at[0], at[1]], still[0, at[0], at[1]]):
                rows.add(i)
                columns.add(j)
    dilation = 3 if "dilation" in layers else 1
    assert (max(rows) - min(rows) + 1, max(columns) - min(columns) + 1) == size
    assert len(rows) == -(-size[0] // dilation)


def test_convolution_weights_beside_those_of_a_dense_layer() -> None:
    model = netc.parse("model {\n  input x: float[28, 28, 1]\n  output y = x -> conv(16, kernel = 5) -> maxpool(2)\n}")
    conv, pool = windowed(model.graph)
    assert (conv.parameters, conv.dense) == (400, 28 * 28 * 28 * 28 * 16)
    assert (pool.parameters, str(pool.sees)) == (0, "6 x 6, 2 apart")


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        ("conv(2, kernel = 5) -> maxpool(2) -> conv(2)", 10),
        ("conv(2, pad = causal) -> conv(2, dilation = 2, pad = causal) -> conv(2, dilation = 4, pad = causal)", 15),
    ],
)
def test_the_receptive_field_on_a_line(layers: str, size: int) -> None:
    model = netc.parse(
        f"model {{\n  input x: float[64, 3]\n  output y = x -> {layers}\n}}\ntrain {{ precision = f64 }}"
    )
    *_, last = windowed(model.graph)
    assert (len(last.kernel), len(last.stride), len(last.pad)) == (1, 1, 2)
    assert last.sees is not None
    assert str(last.sees).partition(",")[0] == str(size)
    program, x = netc.compile(model), np.random.default_rng(0).standard_normal((1, 64, 3))
    still = program.predict({"x": x})["y"]
    at, seen = still.shape[1] // 2, []
    for step in range(64):
        moved = x.copy()
        moved[0, step] += 100
        if not np.array_equal(program.predict({"x": moved})["y"][0, at], still[0, at]):
            seen.append(step)
    assert seen == [*range(seen[0], seen[0] + size)]
    assert "causal" not in layers or seen[-1] == at
