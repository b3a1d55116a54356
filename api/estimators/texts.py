"""Writes the `.net` text of a fully connected network from a few settings. Knows neither data nor scikit-learn."""

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

INPUT, TARGET, WEIGHT = "x", "y", "sample_weight"  # the fields of such a text
_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_UNDECAYED = ("lbfgs",)  # optimizers without weight decay


class Layers(Struct, frozen=True):
    """The layers between the input of `features` numbers and the last one, and how they are trained.

    `loss` is a word of the library. With `is_stopped_early`, the loss of the validation part ends training after
    `patience` epochs without an improvement, and the best epoch is kept.
    """

    features: int
    hidden: Sequence[int]
    activation: str
    dropout: float
    loss: str
    is_weighted: bool
    optimizer: str
    learning_rate: float
    weight_decay: float
    batch: int
    epochs: int
    precision: Literal["f32", "f64", "bf16"]
    is_stopped_early: bool
    patience: int


def text_of(layers: Layers, outputs: int, is_classifier: bool) -> str:
    """The text of a network with this number of classes or numbers as its output.

    Raises ValueError for a setting that no text can express; a word that the language lacks is found by its parser.
    """
    _require(layers)
    loss = f"{layers.loss}({'logits' if is_classifier else 'z'}, {TARGET})"
    lines = ["model {", f"  input {INPUT}: float[{layers.features}]"]
    lines += [f"  target {TARGET}: {_target_type(outputs, is_classifier)}"]
    lines += [f"  target {WEIGHT}: float"] * layers.is_weighted
    lines += ["", f"  h = {INPUT}{''.join(_hidden(layers, width) for width in layers.hidden)}"]
    if is_classifier:
        lines += [f"  logits = h -> dense({outputs})", "", "  output probability = softmax(logits)"]
    else:
        lines += [f"  z = h -> dense({outputs}){' -> squeeze' * (outputs == 1)}", "", "  output prediction = z"]
    lines += [f"  loss {f'weighted({loss}, {WEIGHT})' if layers.is_weighted else loss}"]
    lines += [f"  metric accuracy(logits, {TARGET})"] * is_classifier
    return "\n".join([*lines, "}", "", *_training(layers), ""])


def _require(layers: Layers) -> None:
    """Raises ValueError for settings that are not words or numbers of their kind."""
    for name in ("activation", "loss", "optimizer"):
        word = getattr(layers, name)
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise ValueError(f"{name}={word!r} is not a word of the language, such as relu, mse or adam")
    if any(width < 1 for width in layers.hidden):
        raise ValueError(f"hidden_layer_sizes={tuple(layers.hidden)} has a layer without units")
    if not 0 <= layers.dropout < 1:
        raise ValueError(f"dropout={layers.dropout} is not between 0 and 1")
    for name, setting in (("batch", "batch_size"), ("epochs", "max_iter"), ("patience", "n_iter_no_change")):
        if getattr(layers, name) < 1:
            raise ValueError(f"{setting}={getattr(layers, name)} is less than 1")
    if layers.weight_decay and layers.optimizer in _UNDECAYED:
        raise ValueError(f"{layers.optimizer} has no weight decay: weight_decay={layers.weight_decay}")


def _target_type(outputs: int, is_classifier: bool) -> str:
    return f"class({outputs})" if is_classifier else "float" if outputs == 1 else f"float[{outputs}]"


def _hidden(layers: Layers, width: int) -> str:
    dropout = f" -> dropout({layers.dropout!r})" if layers.dropout else ""
    return f" -> dense({width}) -> {layers.activation}{dropout}"


def _training(layers: Layers) -> list[str]:
    numbers = [f"lr = {float(layers.learning_rate)!r}"]
    numbers += [f"decay = {float(layers.weight_decay)!r}"] * bool(layers.weight_decay)
    lines = ["train {", f"  optimizer = {layers.optimizer}({', '.join(numbers)})"]
    lines += [f"  batch = {layers.batch}", f"  epochs = {layers.epochs}", f"  precision = {layers.precision}"]
    if layers.is_stopped_early:
        lines += [f"  early_stop = (metric = valid.loss, patience = {layers.patience})", "  keep = best(valid.loss)"]
    return [*lines, "}"]
