"""A member of an ensemble: its model, and how its inputs, targets, outputs and classes become those of the ensemble."""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from netc.compiler.analysis.heads import Heads, heads_of
from netc.compiler.ir.value import Value
from netc.compiler.model import Model

Change = Callable[[Value], Value]


class Classes(Struct, frozen=True):
    """A member's classes of a target among `count` classes of the ensemble.

    `spread` takes a value whose last axis has the classes `of_member`, and gives those of the ensemble, with a
    number for each class that the member does not know.
    """

    of_member: int
    count: int
    spread: Callable[[Value, float], Value]


class Member(Struct, frozen=True):
    """A model of an ensemble, and what its own fitted data steps do to values of the ensemble's graph.

    `prepare` has, for each input or target that the ensemble takes as it was before these steps, what turns it into
    that of the model. `restore` undoes this for outputs in the units of a target; `units` has the target of each.
    `classes` has the targets whose classes are not those of the ensemble in all members.
    """

    model: Model
    prepare: Mapping[str, Change] = field(default_factory=dict)
    restore: Mapping[str, Change] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, Classes] = field(default_factory=dict)

    def heads(self) -> Heads:
        """The places where the model's own values end."""
        model = self.model
        weights = {name for name, info in model.states.items() if info.weights_of is not None}
        return heads_of(model.graph, weights, [name for name in self.prepare if name in model.inputs])
