"""A trained model goes on with a text: a token at a time, each drawn from what the model says of the next one."""

from collections.abc import Iterator

import numpy as np

from netc.compiler.ir.types import DTYPES
from netc.compiler.pipeline import prediction_graph
from netc.compiler.reference import evaluate
from netc.compiler.stepping import STEP, stepping
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.checkpoint import place_of
from netc.runtime.data.dataset import labels_of
from netc.runtime.data.stored import Array
from netc.runtime.random import generator
from netc.runtime.run import Run
from netc.runtime.step import Step


class Generator:
    """One step of a run's model, and the states it is at. Faults E0506 if the model does not generate."""

    def __init__(self, run: Run) -> None:
        model, program = run.model, run.program
        whole = prediction_graph(model)
        inputs = {one.name: one.type for one in whole.values("input")}
        tokens = {name: type_ for name, type_ in inputs.items() if type_.is_varying and type_.classes is not None}
        outputs = {
            name: value
            for name, value in whole.results.items()
            if value.type.is_varying and value.type.is_float and value.type.rank == 2
        }
        if len(tokens) != 1 or len(inputs) != 1 or len(outputs) != 1:
            told = "it has one input class(n)[t], and one output float[t, n]"
            fault("E0506", "this model does not generate", Span(model.source, 0, 0), told)
        ((self.name, type_),) = tokens.items()
        ((self.output, value),) = outputs.items()
        if value.type.dims[1] != type_.classes:
            told = f"the input has {type_.classes} tokens, the output {value.type.dims[1]}"
            fault("E0506", "the output is not of the input's tokens", value.span, told)
        spec = run.spec.fields[self.name]
        self.tokens = labels_of(spec, run.states[self.name])
        self.is_words = any(step.name == "words" for step in spec.steps)
        self.is_lower = any(step.name == "lowercase" for step in spec.steps)
        made = stepping(whole.of(self.output), str(type_.rows))
        self.types, begins = made.states, made.begins
        self.guard = program.guard
        with self.guard.reading:
            first = evaluate(begins, program.persistent, 1) if begins.results else {}
        self.held = {
            name: first.get(name, np.zeros(one.shape(1), DTYPES[one.dtype].numpy)) for name, one in made.states.items()
        }
        self.step = Step(made.graph, program.state, 1, program.workers, program.backend, program.machine)
        self.at = 0

    def next(self, token: int) -> Array:
        """Take in a token; gives what the model says of each one that may follow."""
        fields = {**self.held, self.name: np.array([token], np.int32), STEP: np.array([self.at], np.int32)}
        with self.guard.reading:
            found = self.step.run(fields, np.zeros(1, np.int32))
        self.held = {name: np.asarray(found[name]) for name in self.types}
        self.at += 1
        scores: Array = np.asarray(found[self.output])[0].astype(np.float64)
        return scores

    def pieces(self, text: str) -> list[str]:
        text = text.lower() if self.is_lower else text
        return text.split() if self.is_words else list(text)


def draw(scores: Array, temperature: float, top_k: int, drawn: float) -> int:
    """A token, from probabilities (or logits): the likeliest at temperature 0; `drawn` is uniform in [0, 1). Token 0 stands for all unknown ones, and is never drawn."""
    is_chance = (scores >= 0).all() and abs(scores.sum() - 1) < 1e-3
    logits = np.log(np.maximum(scores, 1e-30)) if is_chance else scores
    logits = logits.copy()
    logits[0] = -np.inf
    if temperature == 0:
        return int(logits.argmax())
    if 0 < top_k < len(logits):
        logits[logits < np.sort(logits)[-top_k]] = -np.inf
    powers = np.exp((logits - logits.max()) / temperature)
    share = np.cumsum(powers) / powers.sum()
    return min(int(np.sum(share <= drawn)), len(powers) - 1)


def generate(
    run: Run, prompt: str, length: int, temperature: float = 1.0, top_k: int = 0, stop: str = "", seed: int = 0
) -> Iterator[str]:
    """The text that follows a prompt, piece by piece: at most `length` tokens, and none after `stop` stands in it. The same seed gives the same text.

    Several threads may generate from one run. Training that goes on meanwhile is seen from token to token.
    """
    model = Generator(run)
    codes = {token: i for i, token in enumerate(model.tokens)}
    begin = model.pieces(prompt)
    if not begin:
        fault("E1001", "a prompt has at least one token", place_of(run.folder), hint='--prompt "Call me"')
    scores = np.zeros(len(model.tokens))
    for piece in begin:
        scores = model.next(codes.get(piece, 0))
    rng, told = generator(seed, "generate"), ""
    for _ in range(length):
        token = draw(scores, temperature, top_k, float(rng.random()))
        piece = (" " if model.is_words else "") + model.tokens[token]
        told += piece
        yield piece
        if stop and told.endswith(stop):
            return
        scores = model.next(token)
