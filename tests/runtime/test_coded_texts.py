"""Columns of texts by numbers have the cells of columns of objects, and go through the same steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.tables.cells import Location
from netc.runtime.data.tables.columns import TextColumn
from netc.runtime.data.tables.table import Table

WORDS = ("a", "b", " ", "7", "é", "A")
PIPES = [("vocabulary", 6), ("vocabulary(3)", 4), ("strip -> vocabulary(4, 2)", 5), ("lowercase -> vocabulary", 5)]
MODEL = """
data {{
  source = csv("t.csv")
  x = column("w") -> {steps} -> window(4, 3)
  y = column("w") -> {steps} -> next(1) -> window(4, 3)
  split = ordered(train = 0.7, test = 0.3)
}}
model {{
  input x: class({count})[4]
  target y: class({count})[4]
  logits = x -> embed(4) -> dense({count})
  loss cross_entropy(logits, y)
}}
"""


@pytest.mark.parametrize("text", ["", "a", "to be or not", "\x00\U0001f600é\ud800\udfffb\U0010ffff"])
def test_characters_by_numbers_are_the_characters(text: str) -> None:
    column = TextColumn.of_characters(text)
    assert column[:].tolist() == TextColumn.of(list(text))[:].tolist() == list(text)
    assert len(column.words) == len(set(text)) <= len(column) == len(text)


@pytest.mark.parametrize("seed", range(10))
def test_rows_of_a_column_of_texts_have_few_words(seed: int) -> None:
    draw = np.random.default_rng(seed)
    words = tuple(f"w{i}" for i in range(int(draw.integers(1, 30))))
    column = TextColumn(draw.integers(-1, len(words), 50).astype(np.int32), words)
    rows = draw.integers(0, 50, int(draw.integers(0, 40)))
    taken = column.take(rows)
    assert taken[:].tolist() == column[rows].tolist()
    assert len(taken.words) <= len(rows)


@pytest.mark.parametrize("has_gap", [False, True])
@pytest.mark.parametrize(("steps", "count"), PIPES)
def test_a_series_of_texts_goes_through_the_same_steps(tmp_path: Path, steps: str, count: int, has_gap: bool) -> None:
    """The same fitted steps, arrays, remarks and faults, with a number or an object for each text."""
    codes = np.random.default_rng(0).integers(0, len(WORDS), 60).astype(np.int32)
    codes[-1] = len(WORDS) - 1
    codes[:42][codes[:42] == 1] = 0  # the test part has a text that training lacks
    codes[-2] = 1
    if has_gap:
        codes[50] = -1
    coded = TextColumn(codes, WORDS)
    (tmp_path / "m.net").write_text(MODEL.format(steps=steps, count=count), encoding="utf-8")
    (tmp_path / "t.csv").write_text("w\na\nb\n", encoding="utf-8")
    model = netc.load(tmp_path / "m.net")

    def outcome(column: Any) -> Any:
        try:
            loaded = load(model, parse_data(model), read=lambda *_: Table("t.csv", {"w": column}))
        except netc.Fault as fault:
            return str(fault)
        arrays = [np.asarray(field).tolist() for fields in loaded.parts.values() for field in fields.values()]
        return loaded.states, arrays, loaded.remarks, [str(warning) for warning in loaded.warnings]

    expected = outcome(coded[:])
    assert isinstance(expected, str) == has_gap
    assert outcome(coded) == expected


@pytest.mark.parametrize("step", ["characters", "words"])
def test_sequences_of_texts_are_those_of_python(step: str) -> None:
    draw = np.random.default_rng(1)
    texts = ["".join(draw.choice(list("ab \t\u2003\U0001f600<end>"), 9)) + "<end> x" for _ in range(20)]
    location = Location("t.csv", ("w",), np.arange(len(texts)), NOWHERE)
    pieces = [list(text) if step == "characters" else text.split() for text in texts]
    sequences = STEPS[step].apply(np.array(texts, object), {}, location)
    assert [tokens.tolist() for tokens in sequences.decoded()] == pieces
    assert [tokens.tolist() for tokens in sequences.take(np.array([7, 2]))] == [pieces[7], pieces[2]]
    with_ends = [[*tokens, "<end>"] for tokens in pieces]
    coded, plain = (STEPS["ends"].apply(each, {}, location) for each in (sequences, sequences.decoded()))
    assert [tokens.tolist() for tokens in coded.decoded()] == [tokens.tolist() for tokens in plain] == with_ends
    states = [STEPS["vocabulary"].fit(lambda rows=each: [(rows, location)], ()) for each in (coded.rows, plain.rows)]
    numbers = [STEPS["vocabulary"].apply(each, states[0], location) for each in (coded.rows, plain.rows)]
    assert states[0] == states[1]
    assert states[0]["tokens"][:2] == ["<unknown>", "<end>"]
    np.testing.assert_array_equal(*numbers)
