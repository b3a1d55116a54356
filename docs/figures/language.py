"""The figures of the chapter on language models."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

import netc
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.random import permutation

from .scheme import BLUE, GREEN, GREY, ORANGE
from .style import EXAMPLES, figure, picture, trained


@picture
def language() -> Figure:
    """The probability of each next letter of a sentence, after two epochs over the novel."""
    run = trained("course/next_letter")
    letters = list(run.states["letter"][1]["tokens"])
    sentence = "the white whale swam before him as the incarnation of all those"
    codes = np.array([letters.index(letter) for letter in sentence], np.int32)
    likely = run.predict_prepared({"letter": [codes]})["likely"][0]
    chances = [0.0, *(likely[i, codes[i + 1]] for i in range(len(codes) - 1))]
    canvas, ((panel,),) = figure(7, 2)
    panel.bar(range(len(sentence)), chances, color=[GREY if letter == " " else BLUE for letter in sentence])
    panel.set(
        xticks=range(len(sentence)), xticklabels=list(sentence.replace(" ", "_")), ylim=(0, 1), ylabel="probability"
    )
    return canvas


def counted_bits(texts: np.ndarray, held_out: np.ndarray, letters: int, most: int) -> list[float]:
    """Bits per letter of counting models that know 0, 1, ... `most` - 1 letters before the next one.

    Texts are rows of codes below `letters`; the first letter of a row is not predicted. Each model is the next shorter
    one's probability, mixed with the shares of what followed the same letters in `texts` (Witten and Bell 1991).
    """
    result, shorter = [], np.full(held_out[:, 1:].shape, 1 / letters)
    for length in range(most):
        before, after = _contexts(texts, length, letters), texts[:, 1:]
        pairs, counts = np.unique((before * letters + after)[before >= 0], return_counts=True)
        contexts, place = np.unique(pairs // letters, return_inverse=True)
        seen, kinds = np.bincount(place, counts), np.bincount(place)
        asked = _contexts(held_out, length, letters)
        total, different = _looked_up(contexts, seen, asked), _looked_up(contexts, kinds, asked)
        same = _looked_up(pairs, counts, np.where(asked >= 0, asked * letters + held_out[:, 1:], -1))
        mixed = (different * shorter + same) / np.maximum(total + different, 1)
        shorter = np.where(total > 0, mixed, shorter)
        result.append(float(-np.log2(shorter).mean()))
    return result


def _contexts(rows: np.ndarray, length: int, letters: int) -> np.ndarray:
    """For each letter but the first of a row, the code of so many letters before it; -1 where there are not enough."""
    codes = np.full((len(rows), rows.shape[1] - 1), -1, np.int64)
    for at in range(max(length, 1), rows.shape[1]):
        powers = letters ** np.arange(length)[::-1]
        codes[:, at - 1] = rows[:, at - length : at].astype(np.int64) @ powers
    return codes


def _looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The value of each key in a sorted table, or 0."""
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, values[place], 0)


def _texts(part: dict[str, Any]) -> np.ndarray:
    """Windows with the letter that follows them: [windows, 101]."""
    pairs = zip(part["letter"], part["following"], strict=True)
    return np.stack([np.append(np.asarray(letters), np.asarray(following)[-1]) for letters, following in pairs])


@picture
def letters_learned() -> Figure:
    """Bits per letter on the validation part by the steps of training, with those of counting models."""
    model = netc.load(EXAMPLES / "course" / "next_letter.net")
    program, parts = netc.compile(model, seed=0, batch=16, threads=1), load(model, parse_data(model)).parts
    windows = len(parts["train"]["letter"])
    order = np.concatenate([permutation(windows, 0, epoch) for epoch in range(2)])
    done, steps, bits = 0, [1, 2, 5, 10, 20, 50, 100, 200, 400, windows // 16, 2 * windows // 16], []
    for end in steps:
        program.steps(parts["train"], order[done * 16 : end * 16], epoch=0)
        bits.append(program.evaluate(parts["valid"])["bits"])
        done = end
    counted = counted_bits(_texts(parts["train"]), _texts(parts["valid"]), 82, 5)
    canvas, ((panel,),) = figure(6.6, 3.2)
    names = ("how often each letter occurs", "one letter before", "two letters before", "three", "four")
    for value, name in zip([np.log2(81), *counted], ("81 equal letters", *names), strict=True):
        panel.axhline(value, color=ORANGE, linewidth=0.8, linestyle="--")
        below = name == "four"  # too near to the line above it
        place = value - 0.08 if below else value + 0.05
        panel.text(8700, place, name, ha="right", va="top" if below else "bottom", fontsize=8, color=ORANGE)
    panel.semilogx(steps, bits, ".-", color=BLUE)
    panel.axvline(windows // 16, color=GREEN, linewidth=0.8)
    panel.text(windows // 16 * 0.95, 5.2, "one epoch", ha="right", fontsize=8, color=GREEN)
    panel.set(xlabel="steps of training", ylabel="bits per letter", xlim=(0.9, 9000), ylim=(1.7, 6.8))
    return canvas
