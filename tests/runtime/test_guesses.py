"""The guesses of `netc new` about single columns and cells."""

import datetime
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netc.runtime.data.steps.number import NumberForm
from netc.runtime.starting.cell_forms import date_formats, number_example
from netc.runtime.starting.column_guess import Guess, guess_column

SEED = 20261128


def column(cells: list[Any], is_target: bool = False, name: str = "a") -> Guess:
    array = np.empty(len(cells), object)
    array[:] = cells
    return guess_column(name, array, is_target)


DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=37 * i) for i in range(60)]
COLUMNS: dict[str, tuple[Callable[[int], Any], str, tuple[str, ...]]] = {
    "numbers": (lambda i: f"{i % 7}.5", "number", ()),
    "ids": (lambda i: str(i + 100), "id", ()),
    "codes": (lambda i: f"C-{i * 7919}", "unique", ()),
    "texts": (lambda i: f"the {i} of a long text", "text", ()),
    "categories": (lambda i: "abc"[i % 3], "category", ()),
    "blanks": (lambda i: (" a", "a", "b ")[i % 3], "category", ("strip",)),
    "case": (lambda i: ("A", "a", "b")[i % 3], "category", ("lowercase",)),
    "unicode": (lambda i: ("e\u0301", "\u00e9", "b")[i % 3], "category", ("normalize_unicode",)),
    "constant": (lambda i: "x", "useless", ()),
    "truths": (lambda i: ("true", "false")[i % 2], "category", ()),
    "iso": (lambda i: DAYS[i].isoformat(), "date", ("date",)),
    "moments": (lambda i: f"{DAYS[i].isoformat()} 12:3{i % 9}", "date", ("date",)),
    "german": (lambda i: f"{DAYS[i]:%d.%m.%Y}", "date", ('date("%d.%m.%Y")',)),
    "american": (lambda i: f"{DAYS[i]:%m/%d/%Y}", "date", ('date("%m/%d/%Y")',)),
    "british": (lambda i: f"{DAYS[i]:%d/%m/%Y %H:%M}", "date", ('date("%d/%m/%Y %H:%M")',)),
    "words": (lambda i: f"{DAYS[i]:%d %b %Y}", "date", ('date("%d %b %Y")',)),
    "digits": (lambda i: f"{DAYS[i]:%Y%m%d}", "date", ('date("%Y%m%d")',)),
    "clock": (lambda i: f"{i % 24:02}:{7 * i % 60:02}", "date", ('date("%H:%M")',)),
    "money": (lambda i: f"€ {1000.5 * (i + 1):,.2f}", "number", ('number("€ 1,234.5")',)),
    "kronor": (lambda i: f"{i + 1} 000 kr", "number", ('number("1 234 kr")',)),
    "percent": (lambda i: f"{i / 3:.1f} %", "number", ('number("1.5 %")',)),
    "european": (lambda i: f"{i}.000,{i}", "number", ('number("1.234,5")',)),
    "bookkeeping": (lambda i: f"({i},{i:03}.50)" if i % 3 else f"{i},{i:03}.50", "number", ('number("1,234.5")',)),
    "minus behind": (lambda i: f"{i}.000,{i}{'-' if i % 3 else ''}", "number", ('number("1.234,5")',)),
    "kilograms": (lambda i: f"{i % 9 + 1}kg", "number", ('number("12 kg")',)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_recognised(name: str) -> None:
    cell, kind, steps = COLUMNS[name]
    cells = [cell(i) for i in range(60)]
    guess = column(cells)
    assert (guess.kind, guess.steps, guess.missing) == (kind, steps, 0)
    if kind not in ("number", "date"):
        return
    random.Random(SEED).shuffle(cells)
    with_gaps = column([*cells, "", None, "NA", "?"])
    assert (with_gaps.kind, with_gaps.steps, with_gaps.missing) == (kind, steps, 4)
    assert with_gaps.marks == ("?", "NA")


def test_rare_categories_have_a_number_of_rows() -> None:
    guess = column([*["Paris"] * 60, *["Rome"] * 60, "Oslo", "Bern"])
    assert (guess.kind, guess.rare, len(guess.labels)) == ("category", 5, 4)
    assert column([*["Paris"] * 60, *["Rome"] * 60]).rare == 0
    assert column([*["NA"] * 30, *["Paris"] * 30]).marks == (), "a category may be called NA"


def test_targets() -> None:
    rng = np.random.default_rng(SEED)
    assert column([str(i % 3) for i in range(60)], is_target=True).kind == "class"
    assert column([f"{x:.3f}" for x in rng.normal(size=60)], is_target=True).kind == "number"
    skewed = column([f"€ {x:,.2f}" for x in rng.lognormal(8, 1.5, 200)], is_target=True)
    assert (skewed.kind, skewed.is_skewed, skewed.steps) == ("number", True, ('number("€ 1,234.5")',))
    assert not column([f"{x:.3f}" for x in rng.uniform(1, 9, 200)], is_target=True).is_skewed
    text = column([f"name {i}" for i in range(60)], is_target=True)
    assert text.kind == "text"
    assert text.note == "it is a text: 60 different ones in 60 rows, and a class needs 5 rows a label on average"
    species = column([f"species {i % 200}" for i in range(1000)], is_target=True)
    assert (species.kind, len(species.labels)) == ("class", 200)


def test_the_cycles_of_dates() -> None:
    """A cycle is of use if the dates go through it more than once."""

    def cycles(days: float, count: int, form: str) -> tuple[str, ...]:
        start = datetime.datetime(2023, 3, 1)
        moments = [start + datetime.timedelta(days=days * i / count) for i in range(count)]
        return column([moment.strftime(form) for moment in moments]).cycles

    assert cycles(901, 300, "%Y-%m-%d %H:%M") == ("year", "week", "day")
    assert cycles(900, 300, "%d.%m.%Y") == ("year", "week")
    assert cycles(300, 300, "%d.%m.%Y") == ("week",)
    assert cycles(900, 300, "%Y-%m") == ("year",)
    assert cycles(7, 300, "%Y-%m-%d %H:%M") == ("day",)
    assert cycles(1, 60, "%H:%M") == ("day",)
    assert cycles(7, 7, "%Y-%m-%d") == ()


def test_ids_are_called_so_or_counted() -> None:
    numbers = [str(i * 7919 % 1000) for i in range(60)]
    assert column(numbers, name="salary").kind == "number"
    for name in ("id", "customer_id", "customerId", "Unnamed: 0"):
        assert column(numbers, name=name).kind == "id"
    assert column(numbers, name="paid").kind == "number"


@pytest.mark.parametrize(
    ("cells", "example"),
    [
        (["1.234", "2.345"], "1.5"),
        (["1.234.567", "2.345"], "1.234.567"),
        (["1,234", "12,345"], "1,234"),
        (["1,5", "2,25"], "1,5"),
        (["-€3", "€ 4"], "€ 12"),
        (["CHF 5'000", "12"], "CHF 1'234"),
        (["5%", "7 kg"], None),
        (["A12", "A13"], None),
        (["12:30"], None),
        (["10.0.0.1"], None),
    ],
)
def test_how_numbers_are_written(cells: list[str], example: str | None) -> None:
    assert number_example(cells) == example


def test_a_doubtful_date_says_so() -> None:
    assert date_formats(["01/02/2020", "03/04/2021"]) == ("%d/%m/%Y", "%m/%d/%Y")
    assert column(["01/02/2020", "03/04/2021"] * 20).note == "; %m/%d/%Y would fit too"
    assert date_formats(["1999", "2001"]) == date_formats(["31.02.2020"]) == ()


@pytest.mark.parametrize(
    ("example", "cell", "value"),
    [
        ("€ 1,234.50", "-€ 1,000.25", -1000.25),
        ("12 %", "3.5%", 3.5),
        ("12 %", "7", 7.0),
        ("1.234,5", "1.500", 1500.0),
        ("1,5", "1.500", None),
        ("1 234,5 kr", "10\u00a0000 kr", 10000.0),
        ("12 kg", "12 lb", None),
        ("1.5", "inf", None),
        ("1.5", "1_000", None),
    ],
)
def test_the_number_of_a_cell(example: str, cell: str, value: float | None) -> None:
    form = NumberForm.of(example)
    assert form is not None
    assert form.value(cell) == value


def test_examples_that_are_not_clear() -> None:
    for example in ("", "abc", "1,2,3.4.5", "1.2,3.4", "1'2 3"):
        assert NumberForm.of(example) is None
