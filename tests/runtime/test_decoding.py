"""A sequence into another: trained with what comes before told, used with what it says itself, until it says that this is the end."""

import csv
import json
import random
from pathlib import Path

from support import command

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
    rows = [(word, one) for word, one in zip(words, said, strict=True) if len(one.split()) <= 7]
    for name, heads, chosen in (("words", ["word", "said"], rows), ("new", ["word"], [row[:1] for row in rows[::40]])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([heads, *chosen])
    (tmp_path / "m.net").write_text(MODEL)
    trained = command("train", "m.net", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    errors = float(trained.stdout.rpartition("errors ")[2])
    assert errors < 0.2, "a fifth of the sounds"
    found = command("predict", "runs/m", "new.csv", cwd=tmp_path)
    cells = [json.loads(row["spoken"]) for row in csv.DictReader(found.stdout.splitlines())]
    assert len(cells) == len(rows[::40])
    right = sum(cell == [*one.split(), "<end>"] for cell, (_, one) in zip(cells, rows[::40], strict=True))
    assert right > len(cells) / 2
    assert all(cell.count("<end>") <= 1 for cell in cells)
