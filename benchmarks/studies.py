"""The table of a study: 100 configurations x 5 folds of a small network, by netc, by PyTorch and by scikit-learn.

Each contender runs in a process of its own, on as many cores as it has workers, with the same configurations, folds,
batches and epochs. Run as a program, it is one of them: `python -m benchmarks.studies NAME FILE WORKERS`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.printing import Rows
from benchmarks.settings import Settings

_FOLDS, _EPOCHS, _BATCH, _WIDTH = 5, 20, 32, 32
_TEXT = f"""
data {{
  source = csv("data/digits8x8/digits8x8.csv")
  image = columns(all, except = "digit") -> scale(1 / 16)
  digit = column("digit") -> classes
  split = folds({_FOLDS})
}}
model {{
  input image: float[64]
  target digit: class(10)
  logits = image -> dense({_WIDTH}) -> relu -> dense(10)
  output probability = softmax(logits)
  loss cross_entropy(logits, digit)
  metric accuracy(logits, digit)
}}
train {{
  optimizer = adam
  batch = {_BATCH}
  epochs = {_EPOCHS}
}}
"""
_EXAMPLE = Path(__file__).parent.parent / "examples" / "digits.net"  # a place beside the data

Configurations = list[tuple[float, float]]  # rates and decays


def table(settings: Settings) -> None:
    """Prints the seconds of each contender by the clock, over netc's too, and those of processors."""
    label = f"{settings.configurations} configurations x {_FOLDS} folds, {_EPOCHS} epochs"
    head = [label, "workers", "seconds", "processor s", "/ netc", "best accuracy"]
    rows = Rows(head, max(map(len, CONTENDERS)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.npz"
        np.savez(path, **_data(settings.configurations))
        for workers in settings.threads:
            first = 0.0
            for name in CONTENDERS:
                seconds, processor, best = _run(name, path, workers)
                first = first or seconds
                cells = [f"{seconds:.2f}", f"{processor:.2f}", f"{seconds / first:.1f}", f"{best:.4f}"]
                rows.add([name, str(workers), *cells])


def _data(count: int) -> dict[str, Any]:
    """All rows, fold by fold, with the number of the fold whose validation part they are; and the configurations."""
    from netc.runtime.studies.segments import Segments

    segments = Segments(_file())
    parts = [segments.shared.prepared({}, fold).dataset.parts["valid"] for fold in range(1, _FOLDS + 1)]
    draw = np.random.default_rng(0)
    configurations = 10.0 ** draw.uniform([-3.5, -6], [-1.5, -3], (count, 2))
    return {
        "x": np.concatenate([np.asarray(part["image"]) for part in parts]).astype(np.float32),
        "y": np.concatenate([np.asarray(part["digit"]) for part in parts]).astype(np.int64),
        "fold": np.concatenate([np.full(len(part["digit"]), i) for i, part in enumerate(parts)]),
        "configurations": configurations,
    }


def _file() -> Any:
    from netc.dsl.parser import parse
    from netc.dsl.source import Source

    return parse(Source("digits.net", _TEXT, _EXAMPLE.resolve()))


def _run(name: str, path: Path, workers: int) -> tuple[float, float, float]:
    """Seconds of a contender's study by the clock and of processors, and the best mean accuracy. Imports count for
    processors alone."""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.studies", name, str(path), str(workers)],
        env=environment | threads,
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    after = os.times()
    answer = json.loads(done.stdout.splitlines()[-1])
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return answer["seconds"], processor, answer["best"]


# ------------------------------------------------------------------ the contenders, each in its process


def with_netc(data: dict[str, Any], workers: int) -> list[float]:
    """The mean accuracy of each configuration."""
    from netc.runtime.studies.segments import Segment, Segments

    segments = [
        Segment({"lr": lr, "decay": decay}, _EPOCHS, fold)
        for lr, decay in data["configurations"].tolist()
        for fold in range(1, _FOLDS + 1)
    ]
    results = Segments(_file()).train_all(segments, workers)
    accuracies = [result.metrics.get("valid.accuracy", 0.0) for result in results]
    return np.reshape(accuracies, (-1, _FOLDS)).mean(axis=1).tolist()


def with_torch(data: dict[str, Any], workers: int) -> list[float]:
    """PyTorch eager with fused Adam, evaluated after each epoch as netc does; joblib trains one fold per worker."""
    import torch
    from joblib import Parallel, delayed

    def train(lr: float, decay: float, fold: int) -> float:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        x, y = (torch.from_numpy(data[name]) for name in ("x", "y"))
        is_valid = torch.from_numpy(data["fold"] == fold)
        x_valid, y_valid, x, y = x[is_valid], y[is_valid], x[~is_valid], y[~is_valid]
        network = torch.nn.Sequential(torch.nn.Linear(64, _WIDTH), torch.nn.ReLU(), torch.nn.Linear(_WIDTH, 10))
        optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=decay, fused=True)
        accuracy = 0.0
        for _ in range(_EPOCHS):
            for chosen in torch.randperm(len(x)).split(_BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
                optimizer.step()
            with torch.no_grad():
                logits = network(x_valid)
                torch.nn.functional.cross_entropy(logits, y_valid).item()
                accuracy = (logits.argmax(1) == y_valid).float().mean().item()
        return accuracy

    tasks = [(lr, decay, fold) for lr, decay in data["configurations"].tolist() for fold in range(_FOLDS)]
    accuracies = Parallel(n_jobs=workers)(delayed(train)(*task) for task in tasks)
    return np.reshape(accuracies, (-1, _FOLDS)).mean(axis=1).tolist()


def with_sklearn(data: dict[str, Any], workers: int) -> list[float]:
    """MLPClassifier under RandomizedSearchCV, evaluated after the last epoch only. Its penalty is divided by the batch,
    so that decay is alpha / batch."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"  # in the workers
    network = MLPClassifier(
        (_WIDTH,), batch_size=_BATCH, max_iter=_EPOCHS, tol=0.0, n_iter_no_change=_EPOCHS, random_state=0
    )
    distributions = [
        {"learning_rate_init": [lr], "alpha": [decay * _BATCH]} for lr, decay in data["configurations"].tolist()
    ]
    search = RandomizedSearchCV(
        network,
        distributions,
        n_iter=len(distributions),
        cv=PredefinedSplit(data["fold"]),
        n_jobs=workers,
        refit=False,
        random_state=0,
    )
    search.fit(data["x"], data["y"])
    return search.cv_results_["mean_test_score"].tolist()


CONTENDERS: dict[str, Callable[[dict[str, Any], int], list[float]]] = {
    "netc": with_netc,
    "PyTorch eager, joblib": with_torch,
    "scikit-learn, RandomizedSearchCV": with_sklearn,
}


def main() -> None:
    """Runs the study of one contender. Its libraries are imported before the clock starts."""
    name, path, workers = sys.argv[1:]
    libraries = {"netc": "netc.runtime.studies.segments", "PyTorch eager, joblib": "torch"}
    import_module(libraries.get(name, "sklearn.neural_network"))
    with np.load(path) as file:
        data = dict(file)
    started = time.perf_counter()
    accuracies = CONTENDERS[name](data, int(workers))
    print(json.dumps({"seconds": time.perf_counter() - started, "best": max(accuracies)}))


if __name__ == "__main__":
    main()
