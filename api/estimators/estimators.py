"""The estimators: their parameters, what scikit-learn asks of `fit` and `predict`, and their fitted attributes.

A fitted estimator holds only texts, arrays and numbers, so that it can be copied, pickled and compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from netc.compiler.ir.types import Type
from netc.compiler.model import Model
from netc.estimators.bases import BaseEstimator, ClassifierMixin, RegressorMixin
from netc.estimators.networks import Constant, Text, facts, predict, prepared, train
from netc.estimators.texts import WEIGHT, Layers, text_of
from netc.runtime.data.stored import Array

Precision = Literal["auto", "f32", "f64", "bf16"]
_LARGEST_SEED = np.iinfo(np.int32).max


@dataclass(eq=False, repr=False)
class _Network(BaseEstimator):
    """The base of both estimators, with the parameters that they share.

    scikit-learn reads parameters from the signature of `__init__`, which the dataclass writes; `loss` of a regressor is
    added to it. An estimator is not a Struct, because it derives from classes of scikit-learn and gets further
    attributes.
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str = "relu"
    _: KW_ONLY
    dropout: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    batch_size: int = 200
    max_iter: int = 200
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    standardize: bool = True
    precision: Precision = "auto"
    random_state: Any = None
    net: str | Path | None = None
    constants: Mapping[str, Constant] | None = None
    threads: int = 1

    def _fit(self, X: Array, y: Array, outputs: int, loss: str, sample_weight: Any, labels: Array | None) -> Self:
        """Trains on checked arrays; `y` has the numbers of classes, or numbers of mean 0 and variance 1."""
        random = check_random_state(self.random_state)
        weights = None if sample_weight is None else self._checked_weights(sample_weight, X)
        self._fit_scale(X, weights)
        text = self._text(X, outputs, loss, weights is not None, labels is not None)
        model, _ = prepared(text)
        fields = _fields_of(model, X.shape[1])
        if weights is not None and WEIGHT not in model.targets:
            raise ValueError(f"the net has no `target {WEIGHT}: float`, and so no use for sample_weight")
        arrays = {fields.input: fields.shaped(self._scaled(X)), fields.target: y}
        if WEIGHT in model.targets:
            arrays[WEIGHT] = np.ones(len(X)) if weights is None else weights
        parts = {"train": arrays}
        if model.train.watched_metrics:
            parts = self._divided(arrays, len(X), labels, random)
        trained = train(text, parts, int(random.randint(_LARGEST_SEED)), self.threads)
        self.net_, self._text_ = text.text, text
        self.parameters_, self.metrics_ = trained.arrays, [*trained.metrics]
        self.n_iter_ = len(trained.metrics)
        chosen = trained.metrics[-1 if trained.kept is None else trained.kept - 1]
        self.loss_ = chosen["train.loss"]
        return self

    def _outputs(self, X: Any) -> tuple[Array, dict[str, Any], Model]:
        """The checked rows, the outputs for them by name, and the model."""
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        model, _ = prepared(self._text_)
        fields = _fields_of(model, rows.shape[1])
        shaped = fields.shaped(self._scaled(rows))
        return rows, predict(self._text_, self.parameters_, {fields.input: shaped}, self.threads), model

    def _text(self, X: Array, outputs: int, loss: str, is_weighted: bool, is_classifier: bool) -> Text:
        """The text to train: that of `net`, or one of the layers that the parameters describe."""
        sizes = {"features": X.shape[1], "classes" if is_classifier else "outputs": outputs}
        constants = tuple(sorted((self.constants or {}).items()))
        if self.net is not None:
            is_text = isinstance(self.net, str) and ("\n" in self.net or "{" in self.net)
            path = None if is_text else str(self.net)
            text = str(self.net) if path is None else Path(path).read_text(encoding="utf-8")
            return Text(text, path, constants).with_sizes(**sizes)
        if constants:
            raise ValueError("constants replace those of `net`, and there is none")
        layers = Layers(
            features=X.shape[1],
            hidden=_widths(self.hidden_layer_sizes),
            activation=self.activation,
            dropout=self.dropout,
            loss=loss,
            is_weighted=is_weighted,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch=max(self.batch_size, len(X)) if self.optimizer == "lbfgs" else self.batch_size,
            epochs=self.max_iter,
            precision=("f32" if X.dtype == np.float32 else "f64") if self.precision == "auto" else self.precision,
            is_stopped_early=self.early_stopping,
            patience=self.n_iter_no_change,
        )
        return Text(text_of(layers, outputs, is_classifier))

    def _checked_weights(self, sample_weight: Any, X: Array) -> Array:
        weights: Array = check_array(sample_weight, ensure_2d=False, dtype=X.dtype, input_name="sample_weight")
        if weights.shape != (len(X),):
            raise ValueError(f"sample_weight has the shape {weights.shape}, and X has {len(X)} rows")
        if (weights < 0).any():
            raise ValueError("sample_weight has negative values")
        if not weights.any():
            raise ValueError("sample_weight: the weights of all samples are zero")
        return weights

    def _fit_scale(self, X: Array, weights: Array | None) -> None:
        """The mean and the standard deviation of each column; a constant column becomes 0."""
        self.mean_ = self.scale_ = None
        if self.standardize:
            self.mean_, self.scale_ = moments(X, weights)

    def _scaled(self, X: Array) -> Array:
        return X if self.mean_ is None else (X - self.mean_) / self.scale_

    def _divided(
        self, arrays: Mapping[str, Array], count: int, labels: Array | None, random: Any
    ) -> dict[str, dict[str, Array]]:
        """The arrays in a training and a validation part, with the shares of classes kept."""
        rows = train_test_split(
            np.arange(count), test_size=self.validation_fraction, stratify=labels, random_state=random
        )
        return {
            part: {name: array[numbers] for name, array in arrays.items()}
            for part, numbers in zip(("train", "valid"), rows, strict=True)
        }


class Classifier(ClassifierMixin, _Network):
    """A network that predicts one of several classes, as an estimator of scikit-learn.

    The parameters are those of `MLPClassifier` where that has them. `activation`, `optimizer` and `precision` are words
    of the language; `precision="auto"` computes in the precision of X. With `standardize`, columns of X have mean 0 and
    variance 1 for the network. `early_stopping` holds back `validation_fraction` of the samples, stops after
    `n_iter_no_change` epochs without a smaller loss on them, and keeps the best epoch.

    `net` is a text of the language or the path of one, instead of the parameters about layers and training: a model of
    one input, whose size is the number of columns, and of one target. `constants` replace its `let` values; those that
    are called `features` and `classes` are set from the data. With a `target sample_weight: float`, the model gets the
    weights of samples.

    Fitted attributes: `classes_`, `n_features_in_`, `feature_names_in_` (of a frame), `n_iter_` (epochs), `loss_` and
    `metrics_` (of each epoch), `net_` (the text), `parameters_` (arrays by name).
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on rows X [samples, columns] and labels y [samples]. Raises ValueError for what it cannot use, and
        netc.Fault for a mistake in `net`."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has 1 class, and a classifier needs at least 2")
        return self._fit(X, numbers.astype(np.int32), len(self.classes_), "cross_entropy", sample_weight, y)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class [samples, classes], in the order of `classes_`."""
        _, outputs, model = self._outputs(X)
        target = _fields_of(model, self.n_features_in_).target
        for distribution in facts(self._text_).distributions:
            if distribution.target == target and not distribution.is_multiple:
                return distribution.chances(outputs[distribution.output])
        raise ValueError(f"the net has no output with the probabilities of `{target}`: output p = softmax(logits)")

    def predict(self, X: Any) -> Array:
        """The likeliest class of each row."""
        chances = self.predict_proba(X)
        labels: Array = self.classes_[chances.argmax(axis=1)]
        return labels


@dataclass(eq=False, repr=False)
class Regressor(RegressorMixin, _Network):
    """A network that predicts one number, or several, as an estimator of scikit-learn.

    Its parameters are those of `Classifier`, and `loss`: `mse`, `huber`, or another loss of the library for two arrays
    of numbers. With `standardize`, the numbers that are predicted have mean 0 and variance 1 in training too. A `net`
    may have a constant `outputs`, the number of columns of y.
    """

    _: KW_ONLY
    loss: str = "mse"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on rows X [samples, columns] and numbers y [samples] or [samples, numbers]. Raises ValueError for what
        it cannot use, and netc.Fault for a mistake in `net`."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        y = y.astype(X.dtype)
        self.y_mean_ = self.y_scale_ = None
        if self.standardize:
            weights = None if sample_weight is None else self._checked_weights(sample_weight, X)
            self.y_mean_, self.y_scale_ = moments(y, weights)
            y = (y - self.y_mean_) / self.y_scale_
        outputs = 1 if y.ndim == 1 else y.shape[1]
        return self._fit(X, y if outputs > 1 else y.reshape(len(y)), outputs, self.loss, sample_weight, None)

    def predict(self, X: Any) -> Array:
        """The number, or numbers, of each row, in the units of y."""
        rows, outputs, model = self._outputs(X)
        target = _fields_of(model, self.n_features_in_).target
        units = facts(self._text_).units
        names = [name for name in outputs if units.get(name) == target] or [*outputs]
        if len(names) > 1 and target not in units.values():
            raise ValueError(f"no loss compares an output of the net with `{target}`: which one it is cannot be told")
        values: Array = outputs[names[0]].astype(rows.dtype)
        return values if self.y_mean_ is None else values * self.y_scale_ + self.y_mean_


class _Fields:
    """The fields of a model that an estimator fills: one input and one target, besides the weights of samples."""

    __slots__ = ("input", "target", "type")

    def __init__(self, input: str, type: Type, target: str) -> None:
        self.input, self.type, self.target = input, type, target

    def shaped(self, rows: Array) -> Array:
        """Rows of columns in the shape that the input has."""
        return rows.reshape(len(rows), *self.type.sample)


def _fields_of(model: Model, columns: int) -> _Fields:
    """Raises ValueError for a model that does not have one input of this number of columns and one target."""
    targets = [name for name in model.targets if name != WEIGHT]
    if len(model.inputs) != 1 or len(targets) != 1:
        counts = f"{len(model.inputs)} inputs and {len(targets)} targets"
        raise ValueError(f"the net has {counts}, and an estimator needs one of each")
    name, type_ = next(iter(model.inputs.items()))
    if type_.is_varying or not type_.is_float or type_.size(1) != columns:
        raise ValueError(f"X has {columns} columns, but the input `{name}` of the net is {type_}")
    return _Fields(name, type_, targets[0])


def _widths(sizes: int | Sequence[int]) -> tuple[int, ...]:
    return (int(sizes),) if isinstance(sizes, int | np.integer) else tuple(int(size) for size in sizes)


def moments(array: Array, weights: Array | None) -> tuple[Array, Array]:
    """The weighted mean and standard deviation of each column; 1 for the deviation of a constant column."""
    mean = np.average(array, axis=0, weights=weights)
    scale = np.sqrt(np.average((array - mean) ** 2, axis=0, weights=weights))
    is_constant = scale <= 10 * np.finfo(array.dtype).eps * np.abs(mean)
    return mean, np.where(is_constant, 1.0, scale)
