"""The part of a model that its programs depend on: trainings that differ only in the rest share what was compiled.

A number of the optimizer is an input of a step (passes/update.py), and only the runtime reads how long and in what
order a model is trained. Which numbers are 0 decides what is computed: without momentum there is no velocity.
"""

from typing import Any

from msgspec.structs import asdict

from netc.compiler.ir.graph import print_graph
from netc.compiler.model import Model, ParameterInfo, TrainSettings
from netc.compiler.passes.optimizers import OPTIMIZERS, OptimizerRule

_READ_BY_THE_RUNTIME = frozenset(
    ("optimizer", "epochs", "seed", "shuffle", "schedule", "plateau", "early_stop", "keep", "start_from")
)
_INPUTS = ("clip_norm", "clip_value")  # numbers besides the optimizer's that are inputs, where they are set


def programs_of(model: Model) -> str:
    """A text that two models have in common if, and only if, no program of one differs from that of the other."""
    types = [(name, str(type_)) for name, type_ in (*model.inputs.items(), *model.targets.items())]
    parameters = [_of_parameter(info) for info in (*model.trainables.values(), *model.states.values())]
    others = [
        types,
        parameters,
        _of_settings(model.train),
        model.bounds,
        [(entry.first, entry.other) for entry in model.equal],
    ]
    return "\n".join([print_graph(model.graph), *map(repr, others)])


def _of_parameter(info: ParameterInfo) -> tuple[Any, ...]:
    return info.name, str(info.type), info.decay, info.weights_of


def _of_settings(train: TrainSettings) -> list[Any]:
    """The settings that decide a program."""
    settings: list[Any] = [train.optimizer.name, *_of_optimizer(train)]
    for setting, value in asdict(train).items():
        match setting:
            case name if name in _READ_BY_THE_RUNTIME:
                continue
            case name if name in _INPUTS:
                settings.append((name, value is not None))
            case "average":
                settings.append((value is not None, value is not None and value.decay is None, value and value.last))
            case "loss_scale":
                settings.append([name for name, _ in value])
            case name:
                settings.append((name, repr(value)))
    return settings


def _of_optimizer(train: TrainSettings) -> list[Any]:
    """The switches of the optimizer and which of its numbers are 0; all numbers if its rule has them as constants."""
    rule = OPTIMIZERS[train.optimizer.name]
    return [
        (name, number if isinstance(number, bool) or not _is_input(rule, name) else number == 0)
        for name, number in train.optimizer.numbers.items()
    ]


def _is_input(rule: OptimizerRule, name: str) -> bool:
    return name == "lr" or rule.takes_inputs
