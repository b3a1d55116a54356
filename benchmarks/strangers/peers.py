"""scikit-learn's HistGradientBoosting and MLP on the same rows, and the score of predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.strangers.stranger import Stranger


def score(stranger: Stranger, predicted: Sequence[object]) -> float:
    """The share of correct labels, or R2 for numbers. A missing prediction counts as wrong, or as the mean."""
    truth = stranger.test[stranger.target]
    if stranger.is_class:
        return float(np.mean([str(a) == str(b) for a, b in zip(truth, predicted, strict=True)]))
    values = pd.to_numeric(pd.Series(predicted), errors="coerce").fillna(truth.mean())
    return 1 - float(((truth - values) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def peers(stranger: Stranger) -> dict[str, float]:
    """The scores of scikit-learn's models by name, with their defaults (early stopping on a tenth of the rows)."""
    target = stranger.target
    train, test = _readable(stranger.train), _readable(stranger.test)
    x, y = train.drop(columns=target), train[target]
    boosting = HistGradientBoostingClassifier if stranger.is_class else HistGradientBoostingRegressor
    network = MLPClassifier if stranger.is_class else MLPRegressor
    scores = {}
    for name, model in (
        ("boosting", boosting(random_state=0, early_stopping=True)),
        ("MLP", network(hidden_layer_sizes=(64,), random_state=0, early_stopping=True, max_iter=500)),
    ):
        pipeline = _prepared(x, stranger.text, model)
        is_scaled = not stranger.is_class
        mean, deviation = (y.mean(), y.std()) if is_scaled else (0, 1)
        pipeline.fit(x, (y - mean) / deviation if is_scaled else y)
        predicted = pipeline.predict(test[x.columns])
        scores[name] = score(stranger, predicted * deviation + mean if is_scaled else list(predicted))
    return scores


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with a year and a month in place of each date, and a category "missing" in place of None."""
    for name in frame.columns:
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            day = frame[name].dt
            frame = frame.assign(**{f"{name}.year": day.year + day.dayofyear / 366, f"{name}.month": day.month})
            frame = frame.drop(columns=name)
        elif not pd.api.types.is_numeric_dtype(frame[name]):
            frame = frame.assign(**{name: frame[name].fillna("missing").astype(str)})
    return frame


def _prepared(x: pd.DataFrame, text: Sequence[str], model: object) -> Pipeline:
    numbers = [name for name in x if pd.api.types.is_numeric_dtype(x[name])]
    categories = [name for name in x if name not in (*numbers, *text)]
    as_numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    as_categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    as_texts = [(name, TfidfVectorizer(max_features=300), name) for name in text]
    columns = [("numbers", as_numbers, numbers), ("categories", as_categories, categories), *as_texts]
    return make_pipeline(ColumnTransformer(columns, sparse_threshold=0), model)
