"""An ensemble: one model whose outputs are the means of those of several models with the same inputs and outputs.

Its graph holds a copy of each member, whose parameters and states are called `member1.NAME`, `member2.NAME`, ... Inputs
and targets are shared. What follows from outputs and logits without a further parameter is computed once, from their
means: a class is the largest of the mean probabilities, a loss is that of the mean. Any other loss or metric is the
mean of the members' own, any other truth is what most members say.

Where members know other classes of a target, the ensemble knows those of all, and a member gives those that it does
not know the probability 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from netc.compiler.analysis.heads import Heads, LogitKind
from netc.compiler.ensemble.member import Member
from netc.compiler.ensemble.values import Tail, log_of_sum, mean_of
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph, dependents, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Application, Model, ParameterInfo
from netc.compiler.operations.reduce import softmax
from netc.dsl.diagnostics import fault
from netc.dsl.structs import replace

_NEVER = -1e30  # the logarithm of the probability of a class that a member does not know
_PREDICTED = (ResultKind.OUTPUT, ResultKind.LENGTH)
_MEASURED = (ResultKind.LOSS, ResultKind.LOSS_WEIGHT, ResultKind.METRIC, ResultKind.METRIC_WEIGHT)


def ensemble(members: Sequence[Member], taken: Mapping[str, Type]) -> Model:
    """The model of an ensemble. `taken` are the types of the inputs and targets that members prepare by themselves.

    The members agree on inputs, targets, outputs and precision, and one of them knows all classes. Raises E1009 for an
    output of that one that has no mean: labels that follow from the choices of each member, or numbers for each class
    that are not probabilities.
    """
    return _Joined(members, taken).model()


def _lead(members: Sequence[Member]) -> int:
    """The place of the first member that knows all classes: losses and metrics are as it computes them."""
    knowing = [all(classes.of_member == classes.count for classes in member.classes.values()) for member in members]
    return knowing.index(True)


class _Joined:
    """The graph of an ensemble while it is made. `copies` are the values of each member's graph in it."""

    def __init__(self, members: Sequence[Member], taken: Mapping[str, Type]) -> None:
        self.members, self.taken = members, taken
        self.lead = _lead(members)
        self.first = members[self.lead].model
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
        graph, heads = self.first.graph, self.heads[self.lead]
        logits = self._mean_logits()
        outputs = self._mean_outputs(logits)
        values = {graph.results[ResultKind.OUTPUT.named(name)]: mean for name, mean in outputs.items()}
        in_model_units = {
            graph.results[ResultKind.OUTPUT.named(name)]: self._again(name, mean) for name, mean in outputs.items()
        }
        prepared = self.copies[self.lead]
        raw = {leaf: self._shared(leaf, leaf.type) for leaf in graph.values(Role.TARGET) if leaf in prepared}
        tails = {
            ResultKind.LOSS: Tail(self.graph, self.first.graph, {**in_model_units, **logits}, prepared),
            ResultKind.METRIC: Tail(self.graph, self.first.graph, {**values, **logits}, {**prepared, **raw}),
        }
        tails |= {ResultKind.OUTPUT: tails[ResultKind.METRIC], ResultKind.LENGTH: tails[ResultKind.METRIC]}
        tails |= {ResultKind.LOSS_WEIGHT: tails[ResultKind.LOSS], ResultKind.METRIC_WEIGHT: tails[ResultKind.METRIC]}
        for result, value in graph.results.items():
            if result.kind is ResultKind.OUTPUT and result.name in outputs:
                self.graph.results[result] = outputs[result.name]
            elif result.kind in tails:
                with self.graph.at(value.span):
                    self.graph.results[result] = self._result(result, value, heads, tails[result.kind])

    def _result(self, result: Result, value: Value, heads: Heads, tail: Tail) -> Value:
        """A result from the means of what it follows from; or else the mean of the members' results.

        An output of truths is then what most members say.
        """
        if heads.is_computable(value, tail.available):
            return tail.value(value)
        self._require_same_classes(result, value)
        if result.kind is ResultKind.OUTPUT and value.type.dtype != "bool":
            label = "each member chooses these labels by itself"
            fault("E1009", f"the output `{result.name}` has no mean", value.span, label)
        mean = mean_of([self._as_float(copy) for copy in self._everywhere(result)])
        return mean > 0.5 if result.kind is ResultKind.OUTPUT else mean

    def _require_same_classes(self, result: Result, value: Value) -> None:
        """Raises E1009 for a result that each member computes by itself, with classes of its own."""
        named = {name for member in self.members for name in member.classes}
        targets = [leaf for leaf in self.first.graph.values(Role.TARGET) if leaf.name in named]
        parts = self._everywhere(result)
        if value in dependents(self.first.graph, targets) or any(part.type.dims != value.type.dims for part in parts):
            label = "each member computes it by itself, and they know other classes"
            fault("E1009", f"`{result.name}` has no mean", value.span, label)

    def _spread(self, member: Member, value: Value, like: Type, number: float) -> Value | None:
        """A member's value for each class, as one for each class of the ensemble; None if it is no such value."""
        if value.type.dims == like.dims:
            return value
        fitting = [
            classes
            for classes in member.classes.values()
            if (value.type.dims, classes.count) == ((*like.dims[:-1], classes.of_member), like.dims[-1])
        ]
        return fitting[0].spread(value, number) if len(fitting) == 1 else None

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
                    if value not in logits:
                        parts[i] = self._probabilities(member, parts[i], name, value)
                means[name] = logits[value] if value in logits else mean_of(parts)
        return means

    def _probabilities(self, member: Member, part: Value, name: str, value: Value) -> Value:
        """A member's output in the shape of the ensemble's. Raises E1009 if no number stands for an unknown class."""
        is_sure = value.definition is softmax and value.attributes_as(Over).over == (value.type.rank - 1,)
        spread = self._spread(member, part, value.type, 0.0) if is_sure or part.type == value.type else None
        if spread is None:
            label = "members know other classes, and these are not probabilities"
            fault("E1009", f"the output `{name}` has no mean", value.span, label, hint=f"output {name} = softmax(...)")
        return spread

    def _again(self, name: str, mean: Value) -> Value:
        """The mean of an output in the units in which the first member's losses compare it with its target."""
        first = self.members[self.lead]
        target = first.units.get(name)
        return first.prepare[str(target)](mean) if target in first.restore else mean

    def _mean_logits(self) -> dict[Value, Value]:
        """The logits of the mean probabilities, by the value of the first member; none if members differ there."""
        first_logits = self.heads[self.lead].logits
        if any([*heads.logits.values()] != [*first_logits.values()] for heads in self.heads):
            return {}
        means: dict[Value, Value] = {}
        for value, *parts in zip(first_logits, *(heads.logits for heads in self.heads), strict=True):
            with self.graph.at(value.span):
                values = [copies[part] for copies, part in zip(self.copies, parts, strict=True)]
                mean = self._logits_ofmean_of(first_logits[value], values, value.type)
            if mean is None:
                return {}
            means[value] = mean
        return means

    def _logits_ofmean_of(self, kind: LogitKind, logits: Sequence[Value], type_: Type) -> Value | None:
        """The logits of the mean of the probabilities that logits stand for, computed without small probabilities.

        For classes that is the logarithm of the mean; for truths that of p / (1 - p). None if their types differ in
        more than classes.
        """
        if kind is LogitKind.TRUTHS:
            if any(value.type != type_ for value in logits):
                return None
            falses = log_of_sum([-apply("softplus", value) for value in logits])
            return log_of_sum([-apply("softplus", -value) for value in logits]) - falses
        logarithms = list[Value]()
        for member, value in zip(self.members, logits, strict=True):
            logarithm = apply("log_softmax", value, over=(value.type.rank - 1,))
            spread = self._spread(member, logarithm, type_, _NEVER)
            if spread is None or spread.type != type_:
                return None
            logarithms.append(spread)
        return log_of_sum(logarithms) - math.log(len(logits))
