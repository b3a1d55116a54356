"""The models that are compared, a file for each family: every file here has a tuple `MODELS`, and is found by itself.

A family gives each model once as netc text, once as a PyTorch module and once as a JAX function. PyTorch and JAX are
imported inside of functions only, so that any process can list the models.
"""

from importlib import import_module
from pkgutil import iter_modules

from benchmarks.model import Model

ALL: dict[str, Model] = {
    model.name: model
    for module in sorted(entry.name for entry in iter_modules(__path__))
    for model in import_module(f"{__name__}.{module}").MODELS
}
MODELS = tuple(model for model in ALL.values() if not model.series)  # those of the table of steps


def series(name: str) -> list[Model]:
    """The models of a series, in order."""
    return [model for model in ALL.values() if model.series == name]
