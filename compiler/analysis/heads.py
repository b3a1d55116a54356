"""Finds the last values of a model that its members in an ensemble compute by themselves: outputs and logits.

What follows such values reads no parameter, so it can be computed once from their means: a loss, a metric, the largest
of several probabilities.
"""

from collections.abc import Collection, Iterable
from enum import Enum, auto

from msgspec import Struct

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph, dependents
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.elementwise import multiply
from netc.compiler.operations.functions import sigmoid, softplus
from netc.compiler.operations.reduce import log_softmax, logsumexp, softmax


class LogitKind(Enum):
    """The probabilities that logits stand for: a softmax of them along the last axis, or the sigmoid of each."""

    CLASSES = auto()
    TRUTHS = auto()


class Heads(Struct, frozen=True):
    """The values of a graph that depend on parameters (`exclusive`), and the logits that losses read, by value."""

    exclusive: frozenset[Value]
    logits: dict[Value, LogitKind]

    def is_computable(self, value: Value, available: Collection[Value]) -> bool:
        """Whether a value follows from `available` values, inputs and targets without a further parameter."""
        waiting, seen = [value], {value}
        while waiting:
            current = waiting.pop()
            if current in available or current not in self.exclusive:
                continue
            if not current.operands:
                return False
            fresh = [operand for operand in current.operands if operand not in seen]
            seen.update(fresh)
            waiting += fresh
        return True


def heads_of(graph: Graph, weights: Collection[str], own_inputs: Collection[str]) -> Heads:
    """The heads of a model's graph.

    `weights` are the states that are not part of a prediction: the weights of classes in a loss. `own_inputs` are the
    inputs and targets that each member prepares by itself.
    """
    leaves = [leaf for leaf in graph.values() if not leaf.operands]
    exclusive = dependents(
        graph,
        [
            leaf
            for leaf in leaves
            if leaf.role is Role.PARAMETER
            or (leaf.role is Role.STATE and leaf.name not in weights)
            or (leaf.role is Role.INPUT and leaf.name in own_inputs)
        ],
    )
    of_samples = dependents(graph, [leaf for leaf in leaves if leaf.role is Role.INPUT])
    reached = _reached(graph.results_of(ResultKind.LOSS).values(), exclusive, of_samples)
    return Heads(frozenset(exclusive), dict(_logits(graph, reached)))


def _reached(losses: Iterable[Value], exclusive: Collection[Value], of_samples: Collection[Value]) -> set[Value]:
    """The values between losses and the last values that read parameters, these included."""
    waiting = [loss for loss in losses if loss in exclusive]
    reached = set(waiting)
    while waiting:
        value = waiting.pop()
        if any(operand in exclusive and operand not in of_samples for operand in value.operands):
            continue
        fresh = [operand for operand in value.operands if operand in exclusive and operand not in reached]
        reached.update(fresh)
        waiting += fresh
    return reached


def _logits(graph: Graph, reached: Collection[Value]) -> Iterable[tuple[Value, LogitKind]]:
    """The logits among the values between losses and parameters, in the order of the graph."""
    users: dict[Value, list[Value]] = {value: [] for value in graph.values() if value in reached}
    for user in users:
        for operand in user.operands:
            if operand in users:
                users[operand].append(user)
    for value, readers in users.items():
        normalised = [user for user in readers if user.definition in (softmax, log_softmax, logsumexp)]
        if any(user.attributes_as(Over).over == (value.type.rank - 1,) for user in normalised):
            yield value, LogitKind.CLASSES
        elif any(user.definition is sigmoid for user in readers):
            yield value, LogitKind.TRUTHS
        elif any(user.definition is softplus for user in readers) and any(
            user.definition is multiply for user in readers
        ):
            yield value, LogitKind.TRUTHS  # softplus(z) - y * z, a cross-entropy
