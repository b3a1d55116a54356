"""The line of a status and the table of epochs, at every width: nothing is cut off that matters, and nothing wraps."""

import math

import pytest

from netc.commands.metric_table import MetricTable
from netc.commands.quantities import lasting, significant
from netc.commands.status import Status, bar_of, curve_of, drawn

STATUS = Status("epoch 3/60", 0.25, ("loss 0.1234", "12,345 samples/s"), [3.0, 2.0, 1.5, 1.0] * 9, 83.0)
METRICS = ["train.loss", "train.divergence", "valid.loss", "valid.accuracy", "valid.negative_elbo"]


@pytest.mark.parametrize("width", range(12, 161))
def test_a_status_fits(width: int) -> None:
    text = STATUS.text(width)
    assert len(text) < width
    assert text.startswith("epoch 3/60"[: width - 1])


def test_a_status_shows_more_where_there_is_room() -> None:
    parts = {
        "left": "83.0 s left",
        "bar": "━",
        "loss": "loss 0.1234",
        "curve": "█",
        "rate": "samples/s",
    }
    first = {
        name: next(width for width in range(12, 161) if part in STATUS.text(width)) for name, part in parts.items()
    }
    assert first["rate"] > first["curve"] > first["loss"] > first["bar"]
    assert max(first.values()) < 90
    assert all(first[name] <= 80 for name in ("left", "bar", "loss", "curve"))


@pytest.mark.parametrize(
    ("numbers", "width", "curve"),
    [
        ([], 8, ""),
        ([1.0], 8, "▁"),
        ([math.nan, math.inf], 8, ""),
        ([0.0, 7.0, math.nan, 3.0], 8, "▁█ ▄"),
        ([8.0, 8.0, 1.0, 1.0], 2, "█▁"),
        ([5.0, 5.0], 8, "▁▁"),
    ],
)
def test_curves(numbers: list[float], width: int, curve: str) -> None:
    assert curve_of(numbers, width) == curve


def test_bars_are_full_in_the_end() -> None:
    assert [bar_of(done, 4) for done in (-1, 0, 0.125, 0.5, 1, 2)] == ["────", "────", "╸───", "━━──", "━━━━", "━━━━"]


@pytest.mark.parametrize("width", range(20, 161))
def test_a_table_fits_and_is_aligned(width: int) -> None:
    table = MetricTable("epoch", 5, METRICS, ["valid.negative_elbo"], width)
    row = {"seconds": 0.0123, "samples_per_second": 98765.4}
    row |= dict(zip(METRICS, (1.0, 1e-12, 123456.7, -0.5, math.nan), strict=True))
    lines = [*table.heads(), table.line("1/60", row), table.line("60/60", row)]
    if width > 40:
        assert max(map(len, lines)) + len(" *") < width
        assert len({len(line) for line in lines[1:]}) == 1
    assert [*(column.name for column in table.columns), *table.left_out] != []
    assert {column.name for column in table.columns} | {*table.left_out} == {*METRICS}
    if width > 40:
        assert "valid.negative_elbo" in {column.name for column in table.columns}, "what matters stays"
    assert not table.has_rate or not table.left_out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 ms"), (4.123e-3, "4.12 ms"), (0.4123, "412 ms"), (0.9999, "1.00 s"), (12.34, "12.3 s"),
     (99.4, "99.4 s"), (99.6, "1 min 40 s"), (3599.7, "1 h 00 min"), (7260, "2 h 01 min"), (math.nan, "")],
)  # fmt: skip
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_numbers_have_four_digits() -> None:
    assert [significant(x) for x in (1.0, 0.05, 1234.5, 12345678.0, 1e-7, math.nan)] == [
        "1.000", "0.05000", "1234", "1.235e+07", "1.000e-07", "nan",
    ]  # fmt: skip


def test_a_terminal_without_the_characters_has_others() -> None:
    assert drawn("epoch 1/9  ━━╸─  █▄▁", "ascii") == "epoch 1/9  ==--  "
    assert drawn("epoch 1/9  ━━╸─  █▄▁", "utf-8") == "epoch 1/9  ━━╸─  █▄▁"
