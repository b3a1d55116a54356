"""An ensemble: one model whose outputs are the means of those of several models with the same inputs and outputs.

Its graph holds a copy of each member, whose parameters and states are called `member1.NAME`, `member2.NAME`, ... Inputs
and targets are shared. What follows from outputs and logits without a further parameter is computed once, from their
means: a class is the largest of the mean probabilities, a loss is that of the mean. Any other loss or metric is the
mean of the members' own, any other truth is what most members say.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netc.compiler.analysis.heads import Heads, LogitKind, heads_of
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Application, Model, ParameterInfo
from netc.dsl.diagnostics import fault

Change = Callable[[Value], Value]
_PREDICTED = (ResultKind.OUTPUT, ResultKind.LENGTH)
_MEASURED = (ResultKind.LOSS, ResultKind.LOSS_WEIGHT, ResultKind.METRIC, ResultKind.METRIC_WEIGHT)


@dataclass(frozen=True, slots=True)
class Member:
    """A model of an ensemble, and what its own fitted data steps do to values of the ensemble's graph.

    `prepare` has, for each input or target that the ensemble takes as it was before these steps, what turns it into
    that of the model. `restore` undoes this for outputs in the units of a target; `units` has the target of each.
    """

    model: Model
    prepare: Mapping[str, Change] = field(default_factory=dict)
    restore: Mapping[str, Change] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def heads(self) -> Heads:
        """Where the model's own values end."""
        model = self.model
        weights = {name for name, info in model.states.items() if info.weights_of is not None}
        return heads_of(model.graph, weights, [name for name in self.prepare if name in model.inputs])


def ensemble(members: Sequence[Member], taken: Mapping[str, Type]) -> Model:
    """The model of an ensemble. `taken` are the types of the inputs and targets that members prepare by themselves.

    The members agree on inputs, targets, outputs and precision. Faults E1009 for an output of the first one that has
    no mean: labels that follow from the choices of each member.
    """
    return _Joined(members, taken).model()


class _Joined:
    """The graph of an ensemble while it is made. `copies` are the values of each member's graph in it."""

    def __init__(self, members: Sequence[Member], taken: Mapping[str, Type]) -> None:
        self.members, self.taken = members, taken
        self.first = members[0].model
        self.heads = [member.heads() for member in members]
        self.graph = Graph()
        self.graph.precision = self.first.graph.precision
        self.shared: dict[object, Value] = {}
        self.copies: list[dict[Value, Value]] = []
        self.applications: list[Application] = []
        for number, member in enumerate(members, 1):
            self.copies.append(self._copied(f"member{number}", member))

    def model(self) -> Model:
        """The model, with the graph's results, and the parameters and states of all members."""
        self._add_results()
        states = {info.name: info for info in self._infos(lambda model: model.states)}
        for leaf in self.graph.values(Role.STATE):  # what fitted steps have learned
            states.setdefault(leaf.name, ParameterInfo(leaf.name, leaf.type, "zeros", (), False, leaf.span))
        train = replace(
            self.first.train, keep=None, average=None, early_stop=None, plateau=None, start_from=None, truncate=None
        )
        return replace(
            self.first,
            graph=self.graph,
            inputs={name: self.taken.get(name, type_) for name, type_ in self.first.inputs.items()},
            targets={name: self.taken.get(name, type_) for name, type_ in self.first.targets.items()},
            trainables={info.name: info for info in self._infos(lambda model: model.trainables)},
            states=states,
            train=train,
            names={
                f"member{number}.{name}": copies[value]
                for number, (member, copies) in enumerate(zip(self.members, self.copies, strict=True), 1)
                for name, value in member.model.names.items()
                if value in copies
            },
            applications=tuple(self.applications),
            member=self.first,
        )

    def _infos(self, of: Callable[[Model], Mapping[str, ParameterInfo]]) -> list[ParameterInfo]:
        """The parameters or states of all members that the graph has, under their names in the ensemble."""
        leaves = {leaf.name for role in (Role.PARAMETER, Role.STATE) for leaf in self.graph.values(role)}
        return [
            replace(info, name=name)
            for number, member in enumerate(self.members, 1)
            for info in of(member.model).values()
            if (name := f"member{number}.{info.name}") in leaves
        ]

    # -------------------------------------------------------------- members

    def _copied(self, name: str, member: Member) -> dict[Value, Value]:
        """Copies what the results of a member's graph need. Its applications become one that has the member's name."""
        model, copies, begins = member.model, dict[Value, Value](), list[int]()
        results = [value for result, value in model.graph.results.items() if result.kind in (*_PREDICTED, *_MEASURED)]
        live = needed_by([*results, *model.names.values()])
        for value in model.graph.values():
            begins.append(self.graph.size)
            if value in live:
                with self.graph.at(value.span):
                    copies[value] = self._copy(name, member, value, copies)
        begins.append(self.graph.size)
        self.applications += [
            replace(each, first=begins[each.first], end=begins[each.end]) for each in model.applications
        ]
        span = model.graph.values()[0].span if begins[0] < self.graph.size else self.graph.span
        self.applications.append(Application(name, False, begins[0], self.graph.size, span))
        return copies

    def _copy(self, name: str, member: Member, value: Value, copies: Mapping[Value, Value]) -> Value:
        """A value of a member in the ensemble. Inputs, targets and what the runtime supplies are there once."""
        match value.role:
            case Role.PARAMETER | Role.STATE:
                assert value.role is not None
                return self.graph.leaf(value.role, f"{name}.{value.name}", value.type)
            case Role.INPUT | Role.TARGET:
                leaf = self._shared(value, self.taken.get(value.name, value.type))
                return member.prepare[value.name](leaf) if value.name in member.prepare else leaf
            case Role.GIVEN:
                return self._shared(value, value.type)
        return self.graph.add_copy(value, [copies[operand] for operand in value.operands])

    def _shared(self, leaf: Value, type_: Type) -> Value:
        key = (leaf.operation, leaf.attributes)
        if key not in self.shared:
            self.shared[key] = self.graph.add_copy(leaf, (), type_=type_)
        return self.shared[key]

    # -------------------------------------------------------------- results

    def _add_results(self) -> None:
        """Adds outputs, then losses and metrics, as they follow from the means of outputs and of logits."""
        graph, heads = self.first.graph, self.heads[0]
        logits = self._mean_logits()
        outputs = self._mean_outputs(logits)
        values = {graph.results[ResultKind.OUTPUT.named(name)]: mean for name, mean in outputs.items()}
        in_model_units = {
            graph.results[ResultKind.OUTPUT.named(name)]: self._again(name, mean) for name, mean in outputs.items()
        }
        prepared = self.copies[0]
        raw = {leaf: self._shared(leaf, leaf.type) for leaf in graph.values(Role.TARGET) if leaf in prepared}
        tails = {
            ResultKind.LOSS: _Tail(self, {**in_model_units, **logits}, prepared),
            ResultKind.METRIC: _Tail(self, {**values, **logits}, {**prepared, **raw}),
        }
        tails |= {ResultKind.OUTPUT: tails[ResultKind.METRIC], ResultKind.LENGTH: tails[ResultKind.METRIC]}
        tails |= {ResultKind.LOSS_WEIGHT: tails[ResultKind.LOSS], ResultKind.METRIC_WEIGHT: tails[ResultKind.METRIC]}
        for result, value in graph.results.items():
            if result.kind is ResultKind.OUTPUT and result.name in outputs:
                self.graph.results[result] = outputs[result.name]
            elif result.kind in tails:
                with self.graph.at(value.span):
                    self.graph.results[result] = self._result(result, value, heads, tails[result.kind])

    def _result(self, result: Result, value: Value, heads: Heads, tail: "_Tail") -> Value:
        """A result from the means of what it follows from; or else the mean of the members' results.

        An output of truths is then what most members say.
        """
        if heads.is_computable(value, tail.known):
            return tail.value(value)
        if result.kind is ResultKind.OUTPUT and value.type.dtype != "bool":
            label = "each member chooses these labels by itself"
            fault("E1009", f"the output `{result.name}` has no mean", value.span, label)
        mean = _mean([self._as_float(copy) for copy in self._everywhere(result)])
        return mean > 0.5 if result.kind is ResultKind.OUTPUT else mean

    def _everywhere(self, result: Result) -> list[Value]:
        """A result as each member computes it."""
        return [
            copies[member.model.graph.results[result]] for member, copies in zip(self.members, self.copies, strict=True)
        ]

    def _as_float(self, value: Value) -> Value:
        return value if value.type.is_float else apply("cast", value, dtype=self.graph.precision)

    def _mean_outputs(self, logits: Mapping[Value, Value]) -> dict[str, Value]:
        """The means of all float outputs, in the units of the data. An output of logits is as `_mean_logits` has it."""
        means: dict[str, Value] = {}
        for name, value in self.first.graph.results_of(ResultKind.OUTPUT).items():
            if not value.type.is_float:
                continue
            with self.graph.at(value.span):
                parts = self._everywhere(ResultKind.OUTPUT.named(name))
                for i, member in enumerate(self.members):
                    if (target := member.units.get(name)) in member.restore:
                        parts[i] = member.restore[str(target)](parts[i])
                means[name] = logits[value] if value in logits else _mean(parts)
        return means

    def _again(self, name: str, mean: Value) -> Value:
        """The mean of an output in the units in which the first member's losses compare it with its target."""
        first = self.members[0]
        target = first.units.get(name)
        return first.prepare[str(target)](mean) if target in first.restore else mean

    def _mean_logits(self) -> dict[Value, Value]:
        """The logits of the mean probabilities, by the value of the first member; none if members differ there."""
        places = [heads.logits for heads in self.heads]
        kinds = [[(kind, value.type) for value, kind in logits.items()] for logits in places]
        if any(other != kinds[0] for other in kinds):
            return {}
        means: dict[Value, Value] = {}
        for parts in zip(*places, strict=True):
            with self.graph.at(parts[0].span):
                values = [copies[part] for copies, part in zip(self.copies, parts, strict=True)]
                means[parts[0]] = _logits_of_mean(places[0][parts[0]], values)
        return means


class _Tail:
    """The values that follow from known ones, computed once: copies of the first member's values, with other operands.

    `known` are values of the ensemble by that member's, `leaves` what stands for its leaves.
    """

    def __init__(self, joined: _Joined, known: Mapping[Value, Value], leaves: Mapping[Value, Value]) -> None:
        self.joined, self.known, self.leaves = joined, known, leaves
        self.copies: dict[Value, Value] = {}

    def value(self, result: Value) -> Value:
        """The value that stands for one of the first member."""
        needed, waiting = {result}, [result]
        while waiting:
            current = waiting.pop()
            fresh = [] if current in self.known else [each for each in current.operands if each not in needed]
            needed.update(fresh)
            waiting += fresh
        for value in self.joined.first.graph.values():
            if value in needed and value not in self.copies:
                self.copies[value] = self._copy(value)
        return self.copies[result]

    def _copy(self, value: Value) -> Value:
        if value in self.known:
            return _of_type(self.known[value], value.type)
        if not value.operands:
            return _of_type(self.leaves[value], value.type)
        with self.joined.graph.at(value.span):
            return self.joined.graph.add_copy(value, [self.copies[operand] for operand in value.operands])


def _of_type(value: Value, type_: Type) -> Value:
    """The same numbers, as the element type that a copied operation takes."""
    return value if value.type.dtype == type_.dtype else apply("cast", value, dtype=type_.dtype)


def _mean(values: Sequence[Value]) -> Value:
    """The sum in the order of the members, divided by their number."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / float(len(values))


def _logits_of_mean(kind: LogitKind, logits: Sequence[Value]) -> Value:
    """The logits of the mean of the probabilities that logits stand for, computed without small probabilities.

    For classes that is the logarithm of the mean; for truths that of p / (1 - p).
    """
    if kind is LogitKind.CLASSES:
        logarithms = [apply("log_softmax", value, over=(value.type.rank - 1,)) for value in logits]
        return _log_of_sum(logarithms) - math.log(len(logits))
    return _log_of_sum([-apply("softplus", -value) for value in logits]) - _log_of_sum(
        [-apply("softplus", value) for value in logits]
    )


def _log_of_sum(logarithms: Sequence[Value]) -> Value:
    """The logarithm of the sum of what these are logarithms of."""
    total = logarithms[0]
    for value in logarithms[1:]:
        total = total + apply("softplus", value - total)
    return total
