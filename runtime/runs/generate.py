"""Text generation: a trained model continues a prompt, each token drawn from its distribution of the next one."""

from collections.abc import Collection, Iterator

import numpy as np

from netc.compiler.ir.roles import Role
from netc.compiler.pipeline import steppable_graph
from netc.dsl.diagnostics import fault
from netc.runtime.data.pipeline import labels_of
from netc.runtime.data.steps.texts import END
from netc.runtime.data.stored import Array
from netc.runtime.inference.next_token import token_names
from netc.runtime.inference.stepper import Stepped, Stepper
from netc.runtime.random import generator
from netc.runtime.runs.checkpoint import path_span
from netc.runtime.runs.run import Run


class Generator:
    """A run's model that is stepped from token to token, for `samples` texts at once.

    Raises E0506 if the model does not generate.
    """

    def __init__(self, run: Run, samples: int = 1) -> None:
        model = run.model
        graph = steppable_graph(model)
        self.name, self.output = token_names(graph)
        type_ = next(leaf.type for leaf in graph.values(Role.INPUT))
        spec = run.spec.fields[self.name]
        self.tokens = labels_of(spec, run.states[self.name])
        self.steps = {step.name for step in spec.steps}
        self.is_words = "words" in self.steps
        has_ends = "ends" in self.steps and END in self.tokens
        self.end = self.tokens.index(END) if has_ends else None
        dim = str(type_.rows)
        what = Stepped(graph, self.output, self.name, dim, model.bounds.get(dim))
        self.stepper = Stepper(run.program.compiled, what, samples)
        self.begins_from_nothing = not self.stepper.reads_own_step

    def first(self) -> Array:
        """The scores of the first token of a text. The model is one that `begins_from_nothing`."""
        scores: Array = self.stepper.coming()[0].astype(np.float64)
        return scores

    def next(self, token: int) -> Array:
        """Takes a token, the same one for each sample; returns the scores of the tokens that may follow the first."""
        scores: Array = self.next_of(np.full(self.stepper.samples, token, np.int32))[0]
        return scores

    def next_of(self, tokens: Array) -> Array:
        """Takes a token of each sample; returns the scores of the tokens that may follow, a row for each sample.

        A model that reads `shift(tokens)` has them at the step after these tokens.
        """
        at_step = self.stepper.step(np.asarray(tokens, np.int32))
        scores: Array = (self.stepper.coming() if self.begins_from_nothing else at_step).astype(np.float64)
        return scores

    def pieces(self, text: str) -> list[str]:
        """A text as tokens: words or characters, in lower case if the data's steps say so."""
        return _pieces(self.steps, text)


def _pieces(steps: Collection[str], text: str) -> list[str]:
    """A text as the tokens that a field with these steps has."""
    text = text.lower() if "lowercase" in steps else text
    return text.split() if "words" in steps else list(text)


def unknown_tokens(run: Run, prompt: str) -> list[str]:
    """The tokens of a prompt that training did not see, which all count as one and the same.

    Raises E0506 if the model does not generate.
    """
    name, _ = token_names(steppable_graph(run.model))
    spec = run.spec.fields[name]
    vocabulary = {*labels_of(spec, run.states[name])}
    pieces = _pieces({step.name for step in spec.steps}, prompt)
    return [piece for piece in dict.fromkeys(pieces) if piece not in vocabulary]


def draw(scores: Array, temperature: float, top_k: int, drawn: float) -> int:
    """A token, from probabilities or logits; at temperature 0 the likeliest. `drawn` is uniform in [0, 1).

    Token 0 stands for all unknown tokens, and is never drawn.
    """
    is_probability = scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3
    logits = np.log(np.maximum(scores, 1e-30)) if is_probability else scores.copy()
    logits[0] = -np.inf
    if temperature == 0:
        return int(logits.argmax())
    if 0 < top_k < len(logits):
        logits[logits < np.sort(logits)[-top_k]] = -np.inf
    is_possible = logits > -np.inf  # -inf / inf, at an infinite temperature, is not a number
    with np.errstate(over="ignore"):  # of a temperature near 0
        powers = np.exp(np.divide(logits - logits.max(), temperature, out=logits, where=is_possible))
    share = np.cumsum(powers) / powers.sum()
    return min(int(share.searchsorted(drawn, side="right")), len(powers) - 1)


def generate(
    run: Run,
    prompt: str,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    stop: str = "",
    seed: int = 0,
) -> Iterator[str]:
    """The text that follows a prompt, token by token: at most `length` tokens, none after the text ends with `stop`.

    It ends before the mark that the step `ends` puts behind each text. Without a prompt a new text begins; raises E1001
    if the model cannot begin from nothing. The same seed gives the same text. Several threads may generate from one
    run. If it is trained meanwhile, each token is drawn by the parameters of its moment.
    """
    model = Generator(run)
    codes = {token: i for i, token in enumerate(model.tokens)}
    prompt_pieces = model.pieces(prompt)
    if not prompt_pieces and not model.begins_from_nothing:
        hint = f'--prompt "Call me"; a model that reads `shift({model.name})` can begin without a prompt'
        fault("E1001", "a prompt has at least one token", path_span(run.folder), hint=hint)
    scores = np.zeros(len(model.tokens)) if prompt_pieces else model.first()
    for piece in prompt_pieces:
        scores = model.next(codes.get(piece, 0))
    rng, text = generator(seed, "generate"), ""
    for _ in range(length):
        token = draw(scores, temperature, top_k, float(rng.random()))
        if token == model.end:
            return
        piece = (" " if model.is_words and (text or prompt_pieces) else "") + model.tokens[token]
        text += piece
        yield piece
        if stop and text.endswith(stop):
            return
        scores = model.next(token)
