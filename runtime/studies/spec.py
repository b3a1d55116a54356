"""Checks a `study` block: the settings that vary, and those of the study itself.

Raises E0601 for unknown or repeated settings, E0602 for wrong values, E0201 and E0302 for names in them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from netc.compiler.elaborate.advice.checks import check_metric
from netc.compiler.elaborate.settings.readers import integer
from netc.compiler.elaborate.settings.replaced import TRAIN_SETTINGS, arguments_of, name_of_call
from netc.compiler.elaborate.settings.train_block import better
from netc.compiler.model import Better, Model
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, Fault, Label, fault, nearest, nearest_or_all
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.plural import counted
from netc.dsl.source import Span
from netc.runtime.data.block.constant_values import constant_value
from netc.runtime.data.block.declarations import Constants, SplitSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.studies.declarations import DEFAULT_TRIALS, PRUNES, SEARCHES, Chosen, Method, StudySpec
from netc.runtime.studies.distributions import EXAMPLES, check_condition, name_of_distribution, read_domain
from netc.runtime.studies.space import Choice, Varying, edge_cases

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_study(model: Model) -> StudySpec:
    """The `study` block of a model that has one. Raises a Fault with all independent faults."""
    assert model.study is not None
    split = parse_data(model).split if model.data is not None else SplitSpec(span=model.study.span)
    return _Reader(model, model.study, split).read()


class _Reader(Struct):
    """The lines of a study that were read so far."""

    model: Model
    study: syntax.Study
    split: SplitSpec
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    spans: dict[str, Span] = field(default_factory=dict)
    space: dict[str, Varying] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def constants(self) -> Constants:
        return self.model.constants

    def read(self) -> StudySpec:
        for setting in self.study.settings:
            try:
                self.check_name(setting)
                if setting.name.text in SETTINGS:
                    self.values[setting.name.text] = self.setting(setting)
                else:
                    self.space[setting.name.text] = self.varying(setting)
            except Fault as error:
                self.diagnostics.note(error)
        self.diagnostics.raise_errors()
        span = Span(self.study.span.source, self.study.span.start, self.study.span.start + len("study"))
        if not self.space:
            fault("E0602", "nothing varies in this study", span, hint=f"lr = {EXAMPLES['log']}")
        compare, keeps_best = self.values.get("compare") or (self.default_metric(span), False)
        for metric in compare:
            self.check_metric(metric)
        self.diagnostics.raise_errors()
        search = self.values.get("search", Chosen("tpe", _defaults(SEARCHES["tpe"]), span))
        is_endless = "time" not in self.values and not SEARCHES[search.name].is_finite
        spec = StudySpec(
            space=tuple(self.space.values()),
            search=search,
            trials=self.values.get("trials", DEFAULT_TRIALS if is_endless else None),
            seconds=self.values.get("time"),
            compare=compare,
            keeps_best=keeps_best,
            prune=self.values.get("prune"),
            folds=self.values.get("folds"),
            seeds=self.values.get("seeds", 1),
            round=self.values.get("round", 8),
            seed=self.values.get("seed", 0),
            span=span,
        )
        _check_methods(spec)
        return spec

    def check_name(self, setting: syntax.StudySetting) -> None:
        name = setting.name.text
        if name in self.spans:
            others = [Label(self.spans[name], "first here")]
            fault("E0601", f"`{name}` is set twice", setting.name.span, others=others)
        self.spans[name] = setting.name.span

    # ------------------------------------------------------------ what varies

    def varying(self, setting: syntax.StudySetting) -> Varying:
        """A setting that varies. Raises E0601 if it is none of the file's, or cannot vary."""
        name, is_let = setting.name.text, self.is_let(setting.name.text)
        if not is_let and name not in TRAIN_SETTINGS:
            self.check_argument(setting)
        if name == "seed":
            fault("E0601", "`seed` does not vary", setting.name.span, hint="seeds = 3")
        domain = read_domain(setting.value, self.constants, is_let)
        if setting.condition is not None:
            names = [other.name.text for other in self.study.settings if other.name.text not in SETTINGS]
            check_condition(setting.condition, self.space, names)
        varying = Varying(name, domain, setting.condition, setting.name.span)
        if not is_let and name not in TRAIN_SETTINGS:
            self.check_optimizers(varying)
        return varying

    def is_let(self, name: str) -> bool:
        return name in self.constants

    def optimizers(self) -> Mapping[str, syntax.Expression | None]:
        """The names of the optimizers that trials may have, with the choices that they are."""
        varying = self.space.get("optimizer")
        if varying is None or not isinstance(varying.domain, Choice) or self.is_let("optimizer"):
            return {self.model.train.optimizer.name: None}
        return {name_of_call(node): node for node in varying.domain.nodes}

    def check_argument(self, setting: syntax.StudySetting) -> None:
        """Raises E0601 for a name that is neither a `let`, nor a setting, nor an argument of an optimizer."""
        name, optimizers = setting.name.text, self.optimizers()
        arguments = {argument: None for optimizer in optimizers for argument in arguments_of(optimizer)}
        if name in arguments:
            return
        hint: str | None
        names = [*self.constants, *TRAIN_SETTINGS, *arguments, *SETTINGS]
        if any(name in arguments_of(optimizer) for optimizer in OPTIMIZERS):
            title, hint = f"`{next(iter(optimizers))}` has no argument `{name}`", nearest(name, arguments)
            hint = hint or f"it takes {', '.join(arguments)}"
        else:
            title = f"the file has no setting `{name}` that could vary"
            hint = _SYNONYMS.get(name) or nearest(name, names) or nearest(name, names, Kind.SETTING)
            hint = hint or f"let {name} = ..."
        fault("E0601", title, setting.name.span, hint=hint)

    def check_optimizers(self, varying: Varying) -> None:
        """Raises E0602 if an argument varies in trials whose optimizer does not have it."""
        having = [name for name in self.optimizers() if varying.name in arguments_of(name)]
        for case in edge_cases(varying, (*self.space.values(), varying), free=("optimizer",)):
            optimizer = name_of_call(case["optimizer"].node) if "optimizer" in case else having[0]
            if optimizer not in having:
                hint = f"{varying.name} = ... if optimizer == {having[0]}"
                fault("E0602", f"`{optimizer}` has no argument `{varying.name}`", varying.span, hint=hint)

    # ------------------------------------------------------------ settings of the study itself

    def setting(self, setting: syntax.StudySetting) -> Any:
        name = setting.name.text
        if name_of_distribution(setting.value) is not None:
            renamed = f"another name for the `let`: {name}_ = {setting.value.span.text}"
            hint = "seeds = 3" if name == "seed" else renamed if self.is_let(name) else None
            fault("E0601", f"`{name}` is a setting of the study, and does not vary", setting.name.span, hint=hint)
        if setting.condition is not None:
            fault("E0602", f"`{name}` takes no condition", setting.condition.span)
        return SETTINGS[name](self, setting.value)

    def metrics(self, node: syntax.Expression) -> tuple[tuple[Better, ...], bool]:
        """Reads `best(valid.loss)`, `valid.loss`, or `(valid.loss, max(valid.accuracy))`."""
        match node:
            case syntax.Tuple(entries=entries) if all(entry.name is None for entry in entries):
                for entry in entries:
                    if name_of_call(entry.value) == "best":
                        hint = "keep = best(valid.loss) in `train`"
                        fault("E0602", "several metrics have no best epoch in common", entry.span, hint=hint)
                metrics = tuple(better(entry.value) for entry in entries)
                twice = next((b for a, b in enumerate(metrics) if b.metric in {m.metric for m in metrics[:a]}), None)
                if twice is not None:
                    fault("E0602", f"`{twice.metric}` is compared twice", twice.span)
                return metrics, False
            case syntax.Call(function=syntax.Name(text="best"), arguments=[argument]):
                train = self.model.train
                if train.keeps_parameters:
                    hint = f"compare = {argument.value.span.text}"
                    note = "`train` says what a trial keeps, and its value is that of what is kept"
                    fault("E0602", "`keep` chooses the epoch already", node.span, note, hint=hint)
                return (better(argument.value),), True
        return (better(node),), False

    def default_metric(self, span: Span) -> tuple[Better, ...]:
        """The metric of `keep`, or else the loss of the validation part, or of the training part without one."""
        keep, parts = self.model.train.keep, self.split.parts
        part = "valid" if parts is None or "valid" in parts else "train"
        return (keep if keep is not None else Better(f"{part}.loss", False, span),)

    def check_metric(self, metric: Better) -> None:
        """Notes a metric that no epoch of this model has."""
        check_metric(self.model.graph, self.diagnostics, metric)
        parts = self.split.parts
        if metric.metric.startswith("valid.") and parts is not None and "valid" not in parts:
            title = f"`{metric.metric}` needs a part `valid`, which the data does not have"
            hint = "train.loss, or a split with `valid = 0.1`"
            self.diagnostics.add("E0602", title, metric.span, f"the parts are {', '.join(parts)}", hint=hint)

    def folds(self, node: syntax.Expression) -> int:
        count = self.integer(2)(node)
        if self.split.way != "folds":
            hint = f"split = folds({count}) in `data`"
            fault("E0602", "the split has no folds", node.span, hint=hint)
        if count > self.split.folds:
            fault("E0602", f"the split has {counted(self.split.folds, 'fold')}", node.span, f"this is {count}")
        return count

    def seconds(self, node: syntax.Expression) -> float:
        """Reads `"2 h"`."""
        value = constant_value(node, self.constants)
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", value) if isinstance(value, str) else None
        if match is None or not float(match[1]):
            fault("E0602", "`time` is a duration in quotes", node.span, hint='time = "2 h", or s, min, d')
        return float(match[1]) * _UNITS[match[2]]

    def integer(self, least: int) -> Callable[[syntax.Expression], int]:
        """A reader of integers that are at least `least`."""
        read = integer(least)
        return lambda node: read(node, lambda node: constant_value(node, self.constants))

    def method(self, node: syntax.Expression, methods: Mapping[str, Method], what: str) -> Chosen:
        """Reads `tpe`, or `tpe(startup = 20)`."""
        name = name_of_call(node)
        if name not in methods:
            hint = _METHODS.get(name) or nearest_or_all(name, methods)
            fault("E0602", f"there is no {what} `{name or node.span.text}`", node.span, hint=hint)
        numbers, seen = _defaults(methods[name]), set[str]()
        for argument in node.arguments if isinstance(node, syntax.Call) else ():
            key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
            if key not in numbers or key in seen:
                if key in seen:
                    fault("E0302", f"`{key}` is given twice", argument.span)
                expected = f"it takes {', '.join(numbers)}" if numbers else f"it stands alone: {name}"
                fact = f"`{name}` has no argument `{key}`" if key else f"an argument of `{name}` has a name"
                fault("E0302", fact, argument.span, hint=nearest(key, numbers) or expected)
            seen.add(key)
            numbers[key] = self.integer(methods[name].numbers[key][1])(argument.value)
        return Chosen(name, numbers, node.span)


SETTINGS: dict[str, Callable[[_Reader, syntax.Expression], Any]] = {
    "search": lambda reader, node: reader.method(node, SEARCHES, "way to search"),
    "trials": lambda reader, node: reader.integer(1)(node),
    "time": lambda reader, node: reader.seconds(node),
    "compare": lambda reader, node: reader.metrics(node),
    "prune": lambda reader, node: reader.method(node, PRUNES, "way to give trials up"),
    "folds": lambda reader, node: reader.folds(node),
    "seeds": lambda reader, node: reader.integer(1)(node),
    "round": lambda reader, node: reader.integer(1)(node),
    "seed": lambda reader, node: reader.integer(0)(node),
}
_METHODS = {
    "sha": "asha",
    "halving": "asha",
    "hyperband": "asha(min = 1, factor = 3)",
    "bayes": "tpe",
    "bayesian": "tpe",
    "gp": "tpe",
    "qmc": "sobol",
    "halton": "sobol",
    "cma": "cmaes",
}
_SYNONYMS = {
    "n_trials": "trials = 100",
    "timeout": 'time = "2 h"',
    "sampler": "search = tpe",
    "pruner": "prune = median",
    "objective": "compare = valid.loss",
    "metric": "compare = valid.loss",
    "direction": "compare = max(valid.accuracy)",
    "maximize": "compare = max(valid.accuracy)",
    "minimize": "compare = min(valid.loss)",
    "cv": "folds = 5",
}


def _defaults(method: Method) -> dict[str, int]:
    return {name: default for name, (default, _) in method.numbers.items()}


def _check_methods(spec: StudySpec) -> None:
    """Raises E0602 if the search or the pruning does not go with the space or with several metrics."""
    search, prune = SEARCHES[spec.search.name], spec.prune
    for varying in spec.space:
        if search.is_finite and varying.domain.finite is None:
            hint = f"{varying.name} = choice(...), or a `step`"
            title = f"`{spec.search.name}` takes finitely many values of each setting"
            others = [Label(spec.search.span, "set here")]
            fault("E0602", title, varying.span, f"`{varying.name}` has any number", others=others, hint=hint)
        if not search.takes_choices and (isinstance(varying.domain, Choice) or varying.condition is not None):
            what = "choices" if isinstance(varying.domain, Choice) else "conditions"
            others, title = [Label(varying.span, "this one")], f"`{spec.search.name}` takes no {what}"
            fault("E0602", title, spec.search.span, others=others, hint="search = tpe")
    if not search.takes_choices and len(spec.space) < 2:
        fault("E0602", f"`{spec.search.name}` takes at least two settings that vary", spec.search.span, hint="tpe")
    if len(spec.compare) > 1:
        if not search.takes_several:
            title = f"`{spec.search.name}` takes one metric"
            others = [Label(spec.compare[1].span, "a second one")]
            fault("E0602", title, spec.search.span, others=others, hint="search = tpe")
        if prune is not None:
            others = [Label(spec.compare[1].span, "a second one")]
            fault("E0602", "trials are given up by one metric", prune.span, others=others, hint="no `prune`")
