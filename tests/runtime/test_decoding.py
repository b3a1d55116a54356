"""A sequence into another: trained with what comes before told, used with what it says itself, until it says that this is the end."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from support import command

import netc

MODEL = """
data {
  source = csv("words.csv")
  word = column("word") -> characters -> vocabulary
  said = column("said") -> words -> ends -> vocabulary
  split = (train = 0.8, test = 0.2)
}

model {
  input word: class(auto)[letters <= 6]
  target said: class(auto)[sounds <= 8]

  code = word -> embed(12) -> bidirectional(gru(16))
  first = last(code) -> dense(32) -> tanh
  layer sound = embed(12)
  layer cell = rnn_cell
  layer out = dense(size(said))

  hs = scan x in sound(shift(said)) with h = first {
    h = cell(x, h)
    yield h
  }
  z = concat(hs, attention(hs, code, code)) -> out
  loss cross_entropy(z, said)

  spoken = scan i in 0..8 until token == 1 with token = 0, h = first {
    h = cell(sound.table[token], h)
    token = argmax(concat(h, attention(h, code, code)) -> out)
    yield token
  }
  output spoken = spoken
  metric errors = weighted(edit_distance(spoken, said) / (sounds - 1), sounds - 1)
}

block rnn_cell(x: float[n], h: float[m]) {
  param W: float[n, m] = glorot_uniform
  param U: float[m, m] = orthogonal
  return tanh(x @ W + h @ U)
}

train {
  optimizer = adam(lr = 0.01)
  batch = 32
  epochs = 25
}
"""
SOUNDS = {"a": ["AH"], "b": ["B"], "c": ["K", "S"], "d": ["D"], "e": ["EE"]}


def test_it_learns_to_spell(tmp_path: Path) -> None:
    draw = random.Random(0)
    words = sorted({"".join(draw.choices("abcde", k=draw.randint(1, 4))) for _ in range(900)})
    said = [" ".join(sound for letter in reversed(word) for sound in SOUNDS[letter]) for word in words]
    rows = [(word, sentence) for word, sentence in zip(words, said, strict=True) if len(sentence.split()) <= 7]
    for name, heads, chosen in (("words", ["word", "said"], rows), ("new", ["word"], [row[:1] for row in rows[::40]])):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([heads, *chosen])
    (tmp_path / "m.net").write_text(MODEL, encoding="utf-8")
    trained = command("train", "m.net", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    errors = float(trained.stdout.rpartition("errors ")[2])
    assert errors < 0.2, "a fifth of the sounds"
    searched = command("predict", "runs/m", "new.csv", "--beam", 3, cwd=tmp_path)
    assert len(searched.stdout.splitlines()) == 1 + len(rows[::40])
    predicted = command("predict", "runs/m", "new.csv", cwd=tmp_path)
    cells = [json.loads(row["spoken"]) for row in csv.DictReader(predicted.stdout.splitlines())]
    assert len(cells) == len(rows[::40])
    right = sum(cell == [*sentence.split(), "<end>"] for cell, (_, sentence) in zip(cells, rows[::40], strict=True))
    assert right > len(cells) / 2
    assert all(cell.count("<end>") <= 1 for cell in cells)


DECODER = """
model {
  input x: float[4]
  param table: float[4, 3] = normal(1)
  layer f = dense(8)
  layer g = dense(4)
  said = scan i in 0..5 until token == 2 with token = 1, h = concat(x, x) {
    h = tanh(f(concat(table[token], h)) + i / 10)
    token = argmax(2 * g(h))
    yield token
  }
  output said = said
}
train { precision = f64 }
"""


def test_a_wide_beam_finds_the_likeliest_of_all() -> None:
    program, x = netc.compile(netc.parse(DECODER)), np.random.default_rng(0).standard_normal((6, 4))
    parameters = program.parameters

    def likeliest(h: np.ndarray, said: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        if said[-1:] == (2,) or len(said) == 5:
            return 0.0, said
        token_before = said[-1] if said else 1
        h = np.tanh(
            np.concatenate([parameters["table"][token_before], h]) @ parameters["f.W"]
            + parameters["f.b"]
            + len(said) / 10
        )
        scores = 2 * (h @ parameters["g.W"] + parameters["g.b"])
        chances = scores - np.log(np.exp(scores).sum())
        return max(
            (chances[token] + rest, tokens) for token in range(4) for rest, tokens in [likeliest(h, (*said, token))]
        )

    wide, greedy = program.predict({"x": x}, beam=4**4)["said"], program.predict({"x": x})["said"]
    expected = [likeliest(np.concatenate([start, start]), ())[1] for start in x]
    assert [tuple(tokens) for tokens in wide] == expected
    assert any(tuple(tokens) != other for tokens, other in zip(greedy, expected, strict=True)), "greed misses some"

    def searched(h: np.ndarray, width: int) -> tuple[int, ...]:
        """A beam search by its definition."""
        beam = [(0.0, (), h)]
        for step in range(5):
            hypotheses = []
            for chance, said, state in beam:
                if said[-1:] == (2,):
                    hypotheses.append((chance, said, state))
                    continue
                embedded = np.concatenate([parameters["table"][said[-1] if said else 1], state])
                state = np.tanh(embedded @ parameters["f.W"] + parameters["f.b"] + step / 10)
                scores = 2 * (state @ parameters["g.W"] + parameters["g.b"])
                logs = scores - np.log(np.exp(scores).sum())
                hypotheses += [(chance + logs[token], (*said, token), state) for token in range(4)]
            beam = sorted(hypotheses, key=lambda hypothesis: -hypothesis[0])[:width]
        return beam[0][1]

    for width in (1, 2):
        narrow = program.predict({"x": x}, beam=width)["said"]
        assert [tuple(tokens) for tokens in narrow] == [searched(np.concatenate([start, start]), width) for start in x]


def test_what_is_not_decoded_is_told() -> None:
    program = netc.compile(netc.parse("model {\n  input x: float[4]\n  output y = argmax(x)\n}\n"))
    with pytest.raises(netc.Fault, match="no output of this model is decoded step by step"):
        program.predict({"x": np.zeros((2, 4))}, beam=2)
