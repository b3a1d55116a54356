"""Elaboration: walk the syntax tree with scopes and build the graph. One class, because expressions, calls and blocks need one another.

Each statement of the model is tried on its own: what is wrong with it is noted, the names it would have assigned are Broken, and the
rest goes on, so that independent faults are told together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from netc.compiler.elaborate import calls, constants
from netc.compiler.elaborate.bindings import (
    BlockFunction,
    Broken,
    Item,
    LayerInstance,
    Namespace,
    ParameterPath,
    Results,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.settings import INITIALISERS, train_settings
from netc.compiler.graph import Graph, needed_by
from netc.compiler.model import Model, ParameterInfo, TrainSettings
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.compiler.types import BATCH, Dim, Mismatch, Type, describe_sample
from netc.compiler.value import OPERATIONS, Operation, Scalar, Value, apply
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Diagnostics, Fault, Label, fault, nearest
from netc.dsl.parser import parse, parse_file
from netc.dsl.printer import expression
from netc.dsl.source import NOWHERE, Source, Span

_OPERATORS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "//": "floor_divide",
    "%": "remainder",
    "**": "power",
    "@": "matmul",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
    "and": "logical_and",
    "or": "logical_or",
}
_SPECIAL = ("split", "stack", "zeros", "ones", "arange")
_LATER = {
    "grad": "derivatives as values",
    "weights": "parameters by pattern",
    "weighted": "weighted losses",
    "dropout": "random operations",
    "conv": "convolution",
    "maxpool": "pooling",
    "avgpool": "pooling",
    "batchnorm": "normalisation",
    "layernorm": "normalisation",
    "lstm": "recurrence",
    "gru": "recurrence",
    "rnn": "recurrence",
    "embed": "embeddings",
    "last": "recurrence",
    "shift": "recurrence",
    "size": "`size(...)`",
    "same_length": "varying dimensions",
}
_DEEPEST = 64
T = TypeVar("T")


class _BrokenName(Exception):
    """An expression uses a name whose own statement was at fault: that was told already."""


def elaborate(file: syntax.File, overrides: dict[str, Any] | None = None) -> Model:
    """The checked model of a file. `overrides` replace `let` values. Raises a Fault with all independent faults."""
    return _Elaborator(file, overrides or {}).run()


class _Elaborator:
    def __init__(self, file: syntax.File, overrides: dict[str, Any]) -> None:
        self.file, self.overrides = file, overrides
        self.diagnostics, self.graph, self.path = Diagnostics(), Graph(), ParameterPath()
        self.parameters: dict[str, ParameterInfo] = {}
        self.inputs: dict[str, Type] = {}
        self.targets: dict[str, Type] = {}
        self.declared: dict[str, Span] = {}
        self.axis_names: dict[Value, tuple[str | None, ...]] = {}
        self.layer: LayerInstance | None = None
        self.calls: list[tuple[str, Span]] = []
        self.may_own = True
        self.library = _library_scope()
        self.globals = Scope(self.library)

    # -------------------------------------------------------------- the file

    def run(self) -> Model:
        self.define(self.file, self.globals, [self.file.source.path], is_main=True)
        sections = {
            kind: [item for item in self.file.items if isinstance(item, kind)]
            for kind in (syntax.Data, syntax.Model, syntax.Train)
        }
        for items in sections.values():
            for second in items[1:]:
                self.diagnostics.add(
                    "E0202",
                    f"a second `{second.span.text.split()[0]}` block",
                    second.span,
                    others=[Label(items[0].span, "the first one")],
                )
        train = TrainSettings(optimizer=train_settings((), self.constant, self.diagnostics).optimizer)
        for block in sections[syntax.Train][:1]:
            assert isinstance(block, syntax.Train)
            train = train_settings(block.settings, self.constant, self.diagnostics)
        self.graph.precision = train.precision
        for model in sections[syntax.Model][:1]:
            assert isinstance(model, syntax.Model)
            self.body(model.body, Scope(self.globals), in_model=True)
        if not sections[syntax.Model]:
            self.diagnostics.add(
                "E0501",
                "the file has no `model` block",
                Span(self.file.source, 0, 0),
                hint="model { input x: float[4] ... }",
            )
        self.check_reading()
        self.diagnostics.raise_errors()
        data = next((item for item in sections[syntax.Data] if isinstance(item, syntax.Data)), None)
        lets = {name: item for name, item in self.globals.names.items() if isinstance(item, int | float | str | tuple)}
        return Model(
            self.file.source,
            self.graph,
            self.inputs,
            self.targets,
            self.declared,
            self.parameters,
            train,
            data,
            dict(lets),
            tuple(self.diagnostics.warnings),
        )

    def define(self, file: syntax.File, scope: Scope, trail: list[Path | None], is_main: bool = False) -> None:
        """The lets, blocks, layers, ops and imports of a file, into a scope."""
        known = {item.name.text for item in file.items if isinstance(item, syntax.Let)}
        if is_main:
            for unknown in sorted(set(self.overrides) - known):
                self.diagnostics.add(
                    "E0201",
                    f"`--set {unknown}`: the file has no `let {unknown}`",
                    Span(file.source, 0, 0),
                    hint=nearest(unknown, known),
                )
        for item in file.items:
            if isinstance(item, syntax.Let | syntax.Block | syntax.Op | syntax.Layer) and item.name.text in scope.names:
                self.diagnostics.add(
                    "E0202",
                    f"`{item.name.text}` is defined twice",
                    item.name.span,
                    others=[Label(scope.places[item.name.text], "first here")],
                )
                continue
            try:
                match item:
                    case syntax.Let(name=name, value=value):
                        override = self.overrides.get(name.text) if is_main else None
                        scope.set(name.text, Broken(), name.span)
                        scope.set(name.text, self.constant(value, scope) if override is None else override, name.span)
                    case syntax.Block(name=name):
                        scope.set(name.text, BlockFunction(item, scope), name.span)
                    case syntax.Op(name=name):
                        scope.set(name.text, UserOperation(item, scope), name.span)
                    case syntax.Layer():
                        self.define_layer(item, scope)
                    case syntax.Import():
                        self.import_file(item, scope, trail)
            except Fault as found:
                self.diagnostics.found += [one for one in found.diagnostics if one not in self.diagnostics.found]
            except _BrokenName:
                pass

    def import_file(self, item: syntax.Import, scope: Scope, trail: list[Path | None]) -> None:
        path = (item.span.source.folder / item.path.value).resolve()
        if path in [one.resolve() for one in trail if one]:
            fault(
                "E0203",
                f'`import "{item.path.value}"` goes round in a circle',
                item.path.span,
                "this file is being imported already",
            )
        if not path.is_file():
            fault(
                "E0203",
                f"there is no file `{item.path.value}`",
                item.path.span,
                f"looked in {item.span.source.folder}"
                if item.span.source.path is None
                else "paths start from this file's folder",
            )
        inner = Scope(self.library)
        self.define(parse_file(path, item.path.value), inner, [*trail, path])
        if item.alias:
            scope.set(item.alias.text, Namespace(inner), item.alias.span)
            return
        for name, value in inner.names.items():
            if isinstance(value, BlockFunction | LayerInstance | UserOperation):
                if name in scope.names:
                    fault(
                        "E0202",
                        f"`{name}` is defined twice",
                        item.path.span,
                        "this file defines it too",
                        others=[Label(scope.places[name], "first here")],
                        hint=f'import "{item.path.value}" as ...',
                    )
                scope.set(name, value, inner.places[name])

    def define_layer(self, item: syntax.Layer, scope: Scope) -> None:
        function = self.evaluate(item.value, scope)
        if not isinstance(function, BlockFunction):
            fault(
                "E0205",
                "a layer is an application of a block that lacks its first argument",
                item.value.span,
                hint="layer f = dense(64)",
            )
        scope.set(
            item.name.text, LayerInstance(".".join((*self.path.prefix, item.name.text)), function), item.name.span
        )

    def check_reading(self) -> None:
        if self.diagnostics.errors:
            return
        if not self.graph.results and any(isinstance(item, syntax.Model) for item in self.file.items):
            self.diagnostics.add(
                "E0501",
                "the model gives nothing",
                Span(self.file.source, 0, 0),
                "it has no output and no loss",
                hint="output y = ...",
            )
        live = self.graph.live()
        for value in self.graph.values():
            if value not in live and "name" in value.attributes:
                kind = {"parameter": "parameter"}.get(value.operation, value.operation)
                self.diagnostics.add("W0501", f"nobody reads the {kind} `{value.attributes['name']}`", value.span)
        for name, value in self.graph.results.items():
            needs = {leaf.operation for leaf in needed_by([value])}
            if name.startswith("output.") and "target" in needs:
                self.diagnostics.add(
                    "E0505", f"the output `{name[7:]}` needs a target", value.span, "a prediction has no target to read"
                )
            if name.startswith("loss.") and "parameter" not in needs:
                self.diagnostics.add(
                    "E0502", "this loss depends on no parameter", value.span, "nothing can learn from it"
                )

    # -------------------------------------------------------------- statements

    def body(self, statements: Sequence[syntax.Statement], scope: Scope, in_model: bool) -> Results | None:
        """Run statements in order. In a model each fault is noted and the rest goes on; in a block it goes to whoever applied it."""
        result: Results | None = None
        for statement in statements:
            try:
                if result is not None:
                    fault("E0103", "nothing runs after `return`", statement.span)
                result = self.statement(statement, scope, in_model) or result
            except Fault as found:
                if not in_model:
                    raise
                self.diagnostics.found += [one for one in found.diagnostics if one not in self.diagnostics.found]
                self.break_names(statement, scope)
            except _BrokenName:
                if not in_model:
                    raise
                self.break_names(statement, scope)
        return result

    def break_names(self, statement: syntax.Statement, scope: Scope) -> None:
        for name in getattr(statement, "names", None) or [getattr(statement, "name", None)]:
            if isinstance(name, syntax.Name):
                scope.set(name.text, Broken(), name.span)

    def statement(self, statement: syntax.Statement, scope: Scope, in_model: bool) -> Results | None:
        only_model = (syntax.Input, syntax.Target, syntax.Output, syntax.Loss, syntax.Metric, syntax.Watch)
        if isinstance(statement, only_model) and not in_model:
            fault("E0103", f"`{statement.span.text.split()[0]}` stands in a model, not in a block", statement.span)
        match statement:
            case syntax.Input() | syntax.Target():
                self.declare(statement, scope)
            case syntax.Output(name=name, value=value):
                self.path.start(name.text, statement)
                result = self.as_value(self.evaluate(value, scope), value.span)
                self.result(f"output.{name.text}", result, name.span)
                scope.set(name.text, result, name.span)
            case syntax.Loss(name=label, value=value) | syntax.Metric(name=label, value=value):
                self.figure("loss" if isinstance(statement, syntax.Loss) else "metric", label, value, scope, statement)
            case syntax.Param():
                self.parameter(statement, scope)
            case syntax.Assign(names=names, type=type_, value=value):
                self.assign(statement, names, type_, value, scope)
            case syntax.Layer():
                self.define_layer(statement, scope)
            case syntax.For():
                self.loop(statement, scope, in_model)
            case syntax.Return(values=values):
                if in_model:
                    fault("E0103", "`return` stands in a block, not in a model", statement.span, hint="output y = ...")
                self.path.start("", statement)
                return Results(tuple(self.evaluate(value, scope) for value in values))
            case syntax.Yield():
                fault("E0103", "`yield` stands in a scan", statement.span)
            case syntax.Watch() | syntax.State() | syntax.Update():
                fault(
                    "E0901",
                    f"`{statement.span.text.split()[0]}` does not run yet",
                    statement.span,
                    "a later version of netc brings it",
                )
        return None

    def declare(self, statement: syntax.Input | syntax.Target, scope: Scope) -> None:
        name, kind = statement.name, "input" if isinstance(statement, syntax.Input) else "target"
        if name.text in self.declared:
            fault(
                "E0202",
                f"`{name.text}` is declared twice",
                name.span,
                others=[Label(self.declared[name.text], "first here")],
            )
        self.declared[name.text] = name.span
        type_ = self.type_of(statement.type, scope)
        batched = Type(type_.dtype, (BATCH, *type_.dims), type_.classes)
        with self.graph.at(name.span):
            scope.set(name.text, self.graph.leaf(kind, name.text, batched), name.span)
        (self.inputs if kind == "input" else self.targets)[name.text] = batched

    def type_of(self, node: syntax.TypeOf, scope: Scope) -> Type:
        """A declared type whose dimensions are all known."""
        if node.kind not in ("float", "bool", "class"):
            fault(
                "E0402",
                f"there is no type `{node.kind}`",
                node.span,
                hint=nearest(node.kind, ("float", "bool", "class")) or "types are float, bool and class(n)",
            )
        dims: list[Dim] = []
        for dim in node.dims:
            if isinstance(dim, syntax.Leading):
                fault("E0401", "`...` stands in a block's signature only", dim.span)
            first = dim.left if isinstance(dim, syntax.Binary) and dim.operator in ("<=", "<") else dim
            if isinstance(first, syntax.Name) and scope.find(first.text) is None:
                fault(
                    "E0901",
                    f"the varying dimension `{first.text}` does not run yet",
                    dim.span,
                    "lengths that differ from sample to sample come in a later version",
                    hint=f"let {first.text} = 28",
                )
            dims.append(constants.whole(self.constant(dim, scope), dim.span, "a dimension"))
        if node.kind == "class":
            assert node.size is not None
            if isinstance(node.size, syntax.Name) and node.size.text == "auto" and scope.find("auto") is None:
                fault("E0901", "`class(auto)` does not run yet", node.size.span, "give the number of classes")
            return Type(
                "i32",
                tuple(dims),
                constants.whole(self.constant(node.size, scope), node.size.span, "the number of classes", least=2),
            )
        return Type("bool" if node.kind == "bool" else self.graph.precision, tuple(dims))

    def figure(
        self, kind: str, label: syntax.Name | None, value: syntax.Expression, scope: Scope, statement: syntax.Node
    ) -> None:
        inner = value.value if isinstance(value, syntax.Group) else value
        function = inner.into if isinstance(inner, syntax.Pipe) else inner
        while isinstance(function, syntax.Call | syntax.Attribute):
            function = function.function if isinstance(function, syntax.Call) else function.name
        name = label.text if label else function.text if isinstance(function, syntax.Name) else kind
        self.path.start(name, statement)
        before, self.may_own = self.may_own, False
        try:
            result = self.as_value(self.evaluate(value, scope), value.span)
        finally:
            self.may_own = before
        if kind == "loss" and not result.type.is_float:
            fault("E0402", "a loss is a float", value.span, f"this is {describe_sample(result.type)}")
        self.result(f"{kind}.{name}", result, value.span)

    def result(self, name: str, value: Value, span: Span) -> None:
        if name in self.graph.results:
            kind, _, own = name.partition(".")
            fault(
                "E0202",
                f"there is a {kind} `{own}` already",
                span,
                others=[Label(self.graph.results[name].span, "the first one")],
                hint=f"{kind} another_name = ...",
            )
        self.graph.results[name] = value

    def parameter(self, statement: syntax.Param, scope: Scope) -> None:
        name = ".".join((*self.path.prefix, statement.name.text))
        if not self.may_own:
            fault(
                "E0503",
                "a loss or metric may not own parameters",
                statement.span,
                f"`{name}` would be one",
                hint="assign the value first, then give it to the loss",
            )
        type_ = self.type_of(statement.type, scope)
        if self.layer is not None and statement.name.text in self.layer.parameters and name in self.parameters:
            value = self.layer.parameters[statement.name.text]
            if value.type != type_:
                fault(
                    "E0401",
                    f"`{name}` is shared, and its shape is {describe_sample(value.type)}",
                    statement.span,
                    f"here it would be {describe_sample(type_)}",
                )
            scope.set(statement.name.text, value, statement.name.span)
            return
        if name in self.parameters:
            shared = next((value for value in self.graph.values("parameter") if value.attributes["name"] == name), None)
            if self.layer is None or shared is None or shared.type != type_:
                fault(
                    "E0202",
                    f"there is a parameter `{name}` already",
                    statement.span,
                    others=[Label(self.parameters[name].span, "the first one")],
                )
            scope.set(statement.name.text, shared, statement.name.span)
            return
        initial, numbers = self.initialiser(statement, scope)
        decay = True
        for option in statement.options:
            key = option.name.text if isinstance(option.name, syntax.Name) else ""
            if key != "decay" or not isinstance(option.value, syntax.Name) or option.value.text not in ("yes", "no"):
                fault(
                    "E0302",
                    f"a parameter has no option `{expression(option.value) if key == 'decay' else key}`",
                    option.span,
                    hint="decay = no",
                )
            decay = option.value.text == "yes"
        span = self.user_span(statement.name.span)
        self.parameters[name] = ParameterInfo(name, type_, initial, numbers, decay, span)
        with self.graph.at(span):
            value = self.graph.leaf("parameter", name, type_)
        scope.set(statement.name.text, value, statement.name.span)
        if self.layer is not None:
            self.layer.parameters[statement.name.text] = value

    def initialiser(self, statement: syntax.Param, scope: Scope) -> tuple[str, tuple[float, ...]]:
        node = statement.initial
        if node is None:
            return "glorot_uniform", ()
        function = node.function if isinstance(node, syntax.Call) else node
        arguments = [argument.value for argument in node.arguments] if isinstance(node, syntax.Call) else []
        if not isinstance(function, syntax.Name) or function.text not in INITIALISERS:
            name = function.text if isinstance(function, syntax.Name) else expression(node)
            fault(
                "E0504",
                f"there is no initialiser `{name}`",
                node.span,
                hint=nearest(name, INITIALISERS) or f"one of {', '.join(INITIALISERS)}",
            )
        if len(arguments) != INITIALISERS[function.text]:
            fault("E0301", f"`{function.text}` takes {INITIALISERS[function.text]} numbers", node.span)
        return function.text, tuple(float(self.constant(one, scope)) for one in arguments)

    def assign(
        self,
        statement: syntax.Assign,
        names: Sequence[syntax.Name],
        type_: syntax.TypeOf | None,
        node: syntax.Expression,
        scope: Scope,
    ) -> None:
        self.path.start(names[0].text, statement)
        item = self.evaluate(node, scope)
        if len(names) == 1:
            if isinstance(item, Results):
                item = item.items[0]
            if type_ is not None:
                value = self.as_value(item, node.span)
                bindings = self.match_type(type_, value, scope, node.span)
                for dimension, bound in bindings.items():
                    scope.set(dimension, bound, type_.span)
                item = value
            scope.set(names[0].text, item, names[0].span)
            return
        items = item.items if isinstance(item, Results) else (item,)
        if len(items) < len(names):
            fault(
                "E0301",
                f"{len(names)} names for {len(items)} result{'s' if len(items) > 1 else ''}",
                names[len(items)].span,
                others=[Label(node.span, f"this gives {len(items)}")],
            )
        for name, part in zip(names, items, strict=False):
            scope.set(name.text, part, name.span)

    def loop(self, statement: syntax.For, scope: Scope, in_model: bool) -> None:
        start = constants.whole(
            self.constant(statement.start, scope), statement.start.span, "the start of a loop", least=-(10**6)
        )
        stop = constants.whole(
            self.constant(statement.stop, scope), statement.stop.span, "the end of a loop", least=-(10**6)
        )
        if stop - start > 10_000:
            fault(
                "E0304",
                f"a loop of {stop - start} turns",
                statement.stop.span,
                "a loop is unrolled when compiled; 10,000 turns are the most",
            )
        before = self.path.loops
        for i in range(start, stop):
            self.path.loops = f"{before}[{i}]"
            scope.set(statement.name.text, i, statement.name.span)
            if self.body(statement.body, scope, in_model) is not None:
                fault("E0103", "`return` may not stand in a loop", statement.span)
        self.path.loops = before

    # -------------------------------------------------------------- expressions

    def constant(self, node: syntax.Expression, scope: Scope | None = None) -> Any:
        """What an expression comes to when compiling; faults E0304 if it depends on data."""
        item = self.evaluate(node, scope or self.globals)
        if isinstance(item, Value | Results | BlockFunction | LayerInstance | UserOperation | Namespace | Operation):
            fault(
                "E0304",
                "this must be known when compiling",
                node.span,
                "it is a value of the model" if isinstance(item, Value) else "this is no number",
            )
        return item

    def evaluate(self, node: syntax.Expression, scope: Scope) -> Item:
        match node:
            case syntax.Number():
                return node.value
            case syntax.Text(value=text):
                return text
            case syntax.Group(value=inner):
                return self.evaluate(inner, scope)
            case syntax.Name():
                return self.lookup(node, scope)
            case syntax.ListOf(items=items):
                return tuple(self.evaluate(item, scope) for item in items)
            case syntax.Tuple(entries=entries):
                return tuple(self.evaluate(entry.value, scope) for entry in entries)
            case syntax.Unary(operator=symbol, operand=operand):
                return self.unary(symbol, operand, node.span, scope)
            case syntax.Binary(operator=symbol, left=left, right=right):
                return self.binary(symbol, left, right, node.span, scope)
            case syntax.Choose(then=then, condition=condition, otherwise=otherwise):
                if (
                    isinstance(condition, syntax.Name)
                    and condition.text == "training"
                    and scope.find("training") is None
                ):
                    fault("E0901", "`training` does not run yet", condition.span, "a later version of netc brings it")
                known = self.evaluate(condition, scope)
                if isinstance(known, Value):
                    fault(
                        "E0304",
                        "the condition of `if else` must be known when compiling",
                        condition.span,
                        "it depends on data",
                        hint=f"where({expression(condition)}, {expression(then)}, {expression(otherwise)})",
                    )
                return self.evaluate(then if known else otherwise, scope)
            case syntax.Pipe(value=value, into=into):
                first = syntax.Argument(value.span, None, value)
                if isinstance(into, syntax.Call):
                    return self.call(into.function, (first, *into.arguments), into.span, scope)
                return self.call(into, (first,), into.span, scope)
            case syntax.Call(function=function, arguments=arguments):
                return self.call(function, arguments, node.span, scope)
            case syntax.Attribute(value=value, name=name):
                return self.attribute(value, name, scope)
            case syntax.Index(value=value, indices=indices):
                return self.index(value, indices, node.span, scope)
            case syntax.Scan():
                fault(
                    "E0901",
                    "`scan` does not run yet",
                    Span(node.span.source, node.span.start, node.span.start + 4),
                    "recurrence comes in a later version",
                )
            case syntax.Leading() | syntax.Slice():
                fault("E0103", f"`{node.span.text}` cannot stand here", node.span)
        raise AssertionError(node)

    def lookup(self, node: syntax.Name, scope: Scope) -> Item:
        item = scope.find(node.text)
        if isinstance(item, Broken):
            raise _BrokenName
        if item is not None:
            return item
        if node.text in OPERATIONS and OPERATIONS[node.text].is_callable:
            return OPERATIONS[node.text]
        if node.text in ("true", "false"):
            return node.text == "true"
        if node.text in _LATER:
            fault(
                "E0901",
                f"`{node.text}` does not run yet",
                node.span,
                f"{_LATER[node.text]} come{'s' if not _LATER[node.text].endswith('s') else ''} in a later version",
            )
        known = [
            *scope.all_names(),
            *(name for name, operation in OPERATIONS.items() if operation.is_callable),
            *_SPECIAL,
        ]
        fault(
            "E0201",
            f"unknown name `{node.text}`",
            node.span,
            "nothing of this name is defined before this line",
            hint=nearest(node.text, known),
        )

    def attribute(self, node: syntax.Expression, name: syntax.Name, scope: Scope) -> Item:
        owner = self.evaluate(node, scope)
        if isinstance(owner, Namespace):
            found = owner.scope.names.get(name.text)
            if found is None:
                fault(
                    "E0201",
                    f"the imported file has no `{name.text}`",
                    name.span,
                    hint=nearest(name.text, owner.scope.names),
                )
            return found
        if isinstance(owner, LayerInstance):
            if name.text not in owner.parameters:
                fault(
                    "E0201",
                    f"`{owner.name}` has no parameter `{name.text}`"
                    if owner.parameters
                    else f"`{owner.name}` has not been applied yet",
                    name.span,
                    "its shapes are known after its first application" if not owner.parameters else "",
                    hint=nearest(name.text, owner.parameters),
                )
            return owner.parameters[name.text]
        fault(
            "E0205",
            "only layers and imported files have names inside",
            node.span,
            others=[Label(name.span, "asked for here")],
        )

    def unary(self, symbol: str, operand: syntax.Expression, span: Span, scope: Scope) -> Item:
        item = self.evaluate(operand, scope)
        if isinstance(item, Value | Results):
            return self.guard(
                span,
                lambda: calls.apply_elementwise(
                    OPERATIONS["neg" if symbol == "-" else "logical_not"], [self.as_value(item, operand.span)]
                ),
            )
        if symbol == "not":
            return not item
        if isinstance(item, bool) or not isinstance(item, int | float):
            fault("E0304", "only a number has a negative", operand.span)
        return -item

    def binary(self, symbol: str, left: syntax.Expression, right: syntax.Expression, span: Span, scope: Scope) -> Item:
        x, y = self.evaluate(left, scope), self.evaluate(right, scope)
        x, y = (item.items[0] if isinstance(item, Results) else item for item in (x, y))
        if not isinstance(x, Value) and not isinstance(y, Value):
            if symbol == "@":
                fault("E0303", "`@` takes values of the model", span)
            for item, node in ((x, left), (y, right)):
                if not isinstance(item, int | float | bool | str | tuple):
                    fault("E0205", f"`{expression(node)}` is no value", node.span, "it has to be applied to something")
            result: Item = constants.compute(symbol, x, y, span)
            return result
        a, b = self.as_value(x, left.span, like=y), self.as_value(y, right.span, like=x)
        operation = OPERATIONS[_OPERATORS[symbol]]
        labels = [Label(left.span, describe_sample(a.type)), Label(right.span, describe_sample(b.type))]
        return self.guard(
            span,
            lambda: operation(a, b) if symbol == "@" else calls.apply_elementwise(operation, [a, b]),
            others=labels,
        )

    def as_value(self, item: Item, span: Span, like: Item | None = None) -> Value:
        """The item as a value of the graph; a number takes the type of what stands beside it."""
        if isinstance(item, Results):
            item = item.items[0]
        if isinstance(item, Value):
            return item
        if isinstance(item, bool | int | float):
            beside = like.type if isinstance(like, Value) else Type(self.graph.precision)
            is_whole = isinstance(item, int) and not isinstance(item, bool) and beside.dtype == "i32"
            with self.graph.at(self.user_span(span)):
                return self.graph.add(
                    "constant",
                    (),
                    {"value": item if is_whole or isinstance(item, bool) else float(item)},
                    Type("i32" if is_whole else "bool" if isinstance(item, bool) else self.graph.precision),
                )
        if isinstance(item, tuple) and item and all(isinstance(one, int | float) for one in item):
            parts = [apply("reshape", self.as_value(float(one), span), dims=(1,)) for one in item]
            return apply("concat", *parts, axis=0)
        what = {
            BlockFunction: "a block",
            LayerInstance: "a layer",
            UserOperation: "an operation",
            Operation: "an operation",
            Namespace: "an imported file",
            str: "a text",
        }.get(type(item), "this")
        fault("E0205", f"{what} is no value", span, "it has to be applied to something" if what != "a text" else "")

    def guard(self, span: Span, build: Callable[[], T], others: Iterable[Label] = ()) -> T:
        """Run `build` at a place of the text; types that do not fit become a fault there."""
        with self.graph.at(self.user_span(span)):
            try:
                return build()
            except Mismatch as mismatch:
                fault(
                    "E0402"
                    if "class" in mismatch.message or "float" in mismatch.message
                    else "E0403"
                    if "axis" in mismatch.message
                    else "E0401",
                    mismatch.message,
                    span,
                    others=others,
                    hint=mismatch.hint,
                )

    def user_span(self, span: Span) -> Span:
        """The place in the user's own text: the call, where the place itself is in the library."""
        if not span.source.is_library:
            return span
        return next((place for _, place in reversed(self.calls) if not place.source.is_library), NOWHERE)

    def index(self, node: syntax.Expression, indices: Sequence[syntax.Expression], span: Span, scope: Scope) -> Item:
        item = self.evaluate(node, scope)
        if isinstance(item, tuple):
            position = constants.whole(self.constant(indices[0], scope), indices[0].span, "an index", least=-len(item))
            if position >= len(item):
                fault("E0404", f"index {position} of a list of {len(item)}", indices[0].span)
            entry: Item = item[position]
            return entry
        value = self.as_value(item, node.span)
        with self.graph.at(self.user_span(span)):
            lead, drop = int(value.type.is_batched), []
            if len(indices) > len(value.type.sample):
                fault(
                    "E0404",
                    f"{len(indices)} indices for {len(value.type.sample)} axes",
                    span,
                    others=[Label(node.span, describe_sample(value.type))],
                )
            for axis, part in enumerate(indices, lead):
                if isinstance(part, syntax.Slice):
                    value = self.slice(value, axis, part, scope)
                    continue
                at = self.evaluate(part, scope)
                if isinstance(at, Value):
                    if len(indices) > 1:
                        fault("E0901", "an index that depends on data stands alone, so far", part.span)
                    if lead:
                        return self.guard(span, partial(calls.pick, value, at))
                    return self.guard(span, partial(apply, "gather", value, at))
                size = value.type.dims[axis]
                assert isinstance(size, int)
                number = constants.whole(at, part.span, "an index", least=-size)
                if number >= size:
                    fault(
                        "E0404",
                        f"index {number} of an axis of {size}",
                        part.span,
                        others=[Label(node.span, describe_sample(value.type))],
                    )
                value = apply("slice", value, axis=axis, start=number % size, stop=number % size + 1)
                drop.append(axis)
            return (
                apply("reshape", value, dims=tuple(dim for axis, dim in enumerate(value.type.dims) if axis not in drop))
                if drop
                else value
            )

    def slice(self, value: Value, axis: int, part: syntax.Slice, scope: Scope) -> Value:
        size = value.type.dims[axis]
        assert isinstance(size, int)
        start = (
            constants.whole(self.constant(part.start, scope), part.start.span, "a slice's start", least=-size)
            if part.start
            else 0
        )
        stop = (
            constants.whole(self.constant(part.stop, scope), part.stop.span, "a slice's end", least=-size)
            if part.stop
            else size
        )
        start, stop = (min(at + size if at < 0 else at, size) for at in (start, stop))
        if start >= stop:
            fault("E0404", "an empty slice", part.span, f"of an axis of {size}")
        return value if stop - start == size else apply("slice", value, axis=axis, start=start, stop=stop)

    # -------------------------------------------------------------- calls

    def call(self, function: syntax.Expression, arguments: Sequence[syntax.Argument], span: Span, scope: Scope) -> Item:
        if isinstance(function, syntax.Name) and function.text in _SPECIAL and scope.find(function.text) is None:
            return self.special(function.text, arguments, span, scope)
        target = self.evaluate(function, scope)
        match target:
            case Operation():
                return self.apply_operation(target, arguments, span, scope)
            case UserOperation():
                return self.apply_user_operation(target, arguments, span, scope)
            case BlockFunction():
                return self.apply_block(target, arguments, span, scope)
            case LayerInstance():
                if len(arguments) != 1:
                    fault("E0301", f"the layer `{target.name}` takes one argument", span)
                return self.apply_block(target.function, arguments, span, scope, layer=target)
        fault(
            "E0205",
            f"`{expression(function)}` cannot be applied",
            function.span,
            "it is a value" if isinstance(target, Value) else "it is a constant",
        )

    def bind(
        self, names: Sequence[str], arguments: Sequence[syntax.Argument], what: str, span: Span
    ) -> dict[str, syntax.Argument]:
        """Arguments by the names of the parameters they go to."""
        bound: dict[str, syntax.Argument] = {}
        for position, argument in enumerate(arguments):
            if argument.name is None:
                if position >= len(names):
                    fault(
                        "E0301",
                        f"`{what}` takes {len(names)} argument{'s' if len(names) != 1 else ''}",
                        argument.span,
                        "this is one too many",
                    )
                name = names[position]
            else:
                assert isinstance(argument.name, syntax.Name)
                name = argument.name.text
                if name not in names:
                    fault(
                        "E0302",
                        f"`{what}` has no argument `{name}`",
                        argument.name.span,
                        hint=nearest(name, names) or f"it takes {', '.join(names)}",
                    )
            if name in bound:
                fault(
                    "E0302",
                    f"`{what}` is given `{name}` twice",
                    argument.span,
                    others=[Label(bound[name].span, "first here")],
                )
            bound[name] = argument
        return bound

    def apply_operation(
        self, operation: Operation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
    ) -> Item:
        kinds = operation.arguments
        rest = next((name for name, kind in kinds.items() if kind in ("values", "dims", "order")), None)
        loose: list[syntax.Argument] = []
        if rest is not None:  # what takes any number of arguments takes all unnamed ones that are left
            fixed = list(kinds).index(rest)
            unnamed = [argument for argument in arguments if argument.name is None]
            loose = unnamed[fixed:]
            arguments = [argument for argument in arguments if argument not in loose]
        bound = self.bind([name for name in kinds if name != rest], arguments, operation.name, span)
        operands: list[Value] = []
        attributes: dict[str, Any] = {}
        for name, kind in kinds.items():
            if kind == "value" and name not in bound:
                fault(
                    "E0301",
                    f"`{operation.name}` lacks its argument `{name}`",
                    span,
                    hint=f"{operation.name}({', '.join(kinds)})",
                )
            if kind == "value":
                operands.append(self.as_value(self.evaluate(bound[name].value, scope), bound[name].span))
        if (
            operands
            and all(operand.operation == "constant" for operand in operands)
            and isinstance(operation.lower, Scalar)
        ):
            with self.graph.at(span):
                return float(operation.reference(*(float(operand.attributes["value"]) for operand in operands)))  # type: ignore[arg-type]
        if kinds and next(iter(kinds.values())) == "values":
            operands = calls.with_common_batch(
                [self.as_value(self.evaluate(one.value, scope), one.span) for one in loose]
            )
            if not operands:
                fault("E0301", f"`{operation.name}` takes at least one value", span)

        def build() -> Value:
            for name, kind in kinds.items():
                self.attribute_argument(
                    operation, name, kind, bound.get(name), loose, operands, attributes, scope, span
                )
            return (
                calls.apply_elementwise(operation, operands)
                if isinstance(operation.lower, Scalar)
                else operation(*operands, **attributes)
            )

        return self.guard(
            span,
            build,
            others=[
                Label(argument.span, describe_sample(value.type))
                for argument, value in zip([*bound.values(), *loose], operands, strict=False)
            ],
        )

    def attribute_argument(
        self,
        operation: Operation,
        name: str,
        kind: str,
        argument: syntax.Argument | None,
        loose: list[syntax.Argument],
        operands: list[Value],
        attributes: dict[str, Any],
        scope: Scope,
        span: Span,
    ) -> None:
        kind, _, default = kind.partition(" = ")
        first = operands[0] if operands else None
        match kind:
            case "axes":
                assert first is not None
                lead = int(first.type.is_batched)
                axes = (
                    tuple(range(lead, first.type.rank))
                    if argument is None
                    else tuple(
                        calls.axis_number(first, axis, self.axis_names) for axis in self.axes(argument.value, scope)
                    )
                )
                if not axes and argument is not None:
                    raise Mismatch("no axis to reduce over")
                attributes[name] = tuple(sorted(set(axes)))
            case "axis" | "join":
                assert first is not None
                axis = self.axes(argument.value, scope) if argument else (int(default),) if default else (-1,)
                if len(axis) != 1:
                    raise Mismatch(f"`{operation.name}` works along one axis")
                number = calls.axis_number(first, axis[0], self.axis_names)
                attributes.update({"axis": number} if kind == "join" else {name: (number,)})
            case "dims":
                assert first is not None
                sizes = [constants.whole(self.constant(one.value, scope), one.span, "a dimension") for one in loose]
                attributes[name] = calls.batched_dims(sizes, first)
            case "order":
                assert first is not None
                lead, rank = int(first.type.is_batched), first.type.rank
                order = [
                    constants.whole(self.constant(one.value, scope), one.span, "an axis", least=0) + lead
                    for one in loose
                ]
                if not loose:
                    order = [*range(lead, rank - 2), rank - 1, rank - 2]
                if sorted(order) != list(range(lead, rank)):
                    raise Mismatch("a transposition names every axis once")
                attributes[name] = (*range(lead), *order)
            case "number":
                given = (
                    constants.whole(self.constant(argument.value, scope), argument.span, f"`{name}`")
                    if argument
                    else int(default)
                )
                assert first is not None
                attributes[name] = calls.class_size(first, given) if operation.name == "one_hot" else given

    def axes(self, node: syntax.Expression, scope: Scope) -> tuple[int | str, ...]:
        if isinstance(node, syntax.Group):
            return self.axes(node.value, scope)
        if isinstance(node, syntax.Tuple):
            return tuple(axis for entry in node.entries for axis in self.axes(entry.value, scope))
        if isinstance(node, syntax.Name):
            return (node.text,)
        return (constants.whole(self.constant(node, scope), node.span, "an axis", least=-16),)

    def special(self, name: str, arguments: Sequence[syntax.Argument], span: Span, scope: Scope) -> Item:
        """What takes a number of arguments, or gives a number of results, that no single operation has."""
        if name in ("zeros", "ones", "arange"):
            dims = tuple(
                constants.whole(self.constant(argument.value, scope), argument.span, "a dimension")
                for argument in arguments
            )
            if name == "arange":
                with self.graph.at(self.user_span(span)):
                    return apply(
                        "cast",
                        self.graph.add("arange", (), {"n": dims[0]}, Type("i32", dims[:1])),
                        dtype=self.graph.precision,
                    )
            number = self.as_value(float(name == "ones"), span)
            return apply("broadcast", number, dims=dims) if dims else number
        if name == "split":
            bound = self.bind(("x", "parts", "over"), arguments, name, span)
            if "x" not in bound or "parts" not in bound:
                fault("E0301", "`split` takes a value and a number of parts", span, hint="a, b = split(x, 2)")
            x = self.as_value(self.evaluate(bound["x"].value, scope), bound["x"].span)
            parts = constants.whole(
                self.constant(bound["parts"].value, scope), bound["parts"].span, "the number of parts"
            )
            axis = self.axes(bound["over"].value, scope)[0] if "over" in bound else -1
            return self.guard(span, lambda: calls.split(x, parts, calls.axis_number(x, axis, self.axis_names)))
        values = calls.with_common_batch(
            [self.as_value(self.evaluate(argument.value, scope), argument.span) for argument in arguments]
        )
        lead = int(values[0].type.is_batched)
        return self.guard(
            span,
            lambda: apply(
                "concat",
                *(
                    apply("reshape", value, dims=(*value.type.dims[:lead], 1, *value.type.dims[lead:]))
                    for value in values
                ),
                axis=lead,
            ),
        )

    def apply_user_operation(
        self, target: UserOperation, arguments: Sequence[syntax.Argument], span: Span, scope: Scope
    ) -> Item:
        op = target.op
        bound = self.bind([name.text for name in op.parameters], arguments, op.name.text, span)
        inner = Scope(target.scope)
        for name in op.parameters:
            if name.text not in bound:
                fault(
                    "E0301",
                    f"`{op.name.text}` lacks its argument `{name.text}`",
                    span,
                    others=[Label(name.span, "declared here")],
                )
            inner.set(name.text, self.evaluate(bound[name.text].value, scope), name.span)
        self.enter(op.name.text, span)
        try:
            return self.evaluate(op.value, inner)
        except Fault as found:
            raise _seen_from(found, span) from None
        finally:
            self.calls.pop()

    def enter(self, name: str, span: Span) -> None:
        if len(self.calls) >= _DEEPEST:
            fault("E0204", f"`{name}` applies itself", span, "a block that contains itself has no end")
        self.calls.append((name, span))

    def apply_block(
        self,
        target: BlockFunction,
        arguments: Sequence[syntax.Argument],
        span: Span,
        scope: Scope,
        layer: LayerInstance | None = None,
    ) -> Item:
        block = target.block
        names = [parameter.name.text for parameter in block.parameters]
        pairs = [(argument, scope) for argument in arguments]
        if target.given:
            pairs[1:1] = [(argument, target.given_scope or scope) for argument in target.given]
        items = {
            id(argument): self.evaluate(argument.value, where) for argument, where in pairs
        }  # first, so that inner applications count before this one
        bound = (
            self.bind(names, [argument for argument, _ in pairs], block.name.text, span)
            if not self.lacks_first(block, pairs, items)
            else {}
        )
        if not bound and block.parameters:
            return BlockFunction(block, target.scope, tuple(arguments), scope)
        for parameter in block.parameters:
            if parameter.name.text not in bound and parameter.default is None:
                fault(
                    "E0301",
                    f"`{block.name.text}` lacks its argument `{parameter.name.text}`",
                    span,
                    others=[Label(parameter.name.span, "declared here")] if not block.span.source.is_library else [],
                    hint=f"{block.name.text}({', '.join(names[1:])})",
                )
        inner = Scope(target.scope)
        self.enter(block.name.text, span)
        outer_path, outer_layer = self.path, self.layer
        prefix = (layer.name,) if layer else self.path.apply(block.name.text)
        try:
            for parameter in block.parameters:
                name = parameter.name.text
                item = items[id(bound[name])] if name in bound else self.evaluate(parameter.default, inner)  # type: ignore[arg-type]
                if parameter.type is not None:
                    where = bound[name].span if name in bound else parameter.name.span
                    item = self.as_value(item, where)
                    for dimension, bound_to in self.match_type(parameter.type, item, inner, where, block).items():
                        inner.set(dimension, bound_to, parameter.type.span)
                inner.set(name, item, parameter.name.span)
            self.path = ParameterPath(prefix)
            self.layer = layer or self.layer
            result = self.body(block.body, inner, in_model=False)
        except Fault as found:
            raise _seen_from(found, span) from None
        finally:
            self.path, self.layer = outer_path, outer_layer
            self.calls.pop()
        if result is None:
            fault(
                "E0103", f"`{block.name.text}` returns nothing", block.name.span, others=[Label(span, "applied here")]
            )
        return result.items[0] if len(result.items) == 1 else result

    def lacks_first(
        self, block: syntax.Block, pairs: Sequence[tuple[syntax.Argument, Scope]], items: dict[int, Item]
    ) -> bool:
        """Whether a block of one value is given only what comes after it: `lstm(64)`, `dense(units = 10)`."""
        named = {argument.name.text for argument, _ in pairs if isinstance(argument.name, syntax.Name)}
        unnamed = [items[id(argument)] for argument, _ in pairs if argument.name is None]
        required = [
            parameter.name.text
            for parameter in block.parameters
            if parameter.default is None and parameter.name.text not in named
        ]
        if not block.parameters or block.parameters[0].type is None or block.parameters[0].name.text in named:
            return False
        return (
            len(unnamed) < len(required)
            if not unnamed
            else len(unnamed) == len(required) - 1 and not isinstance(unnamed[0], Value | Results)
        )

    def match_type(
        self, node: syntax.TypeOf, value: Value, scope: Scope, span: Span, block: syntax.Block | None = None
    ) -> dict[str, Item]:
        """Check a value against a declared type and bind the names of its dimensions. Faults name both."""
        dims, found = list(node.dims), list(value.type.sample)
        bindings: dict[str, Item] = {}

        def wrong(code: str = "E0401", why: str = "") -> NoReturn:
            place = Label(node.span, "declared here")
            takes = f"`{block.name.text}` takes" if block else "this is declared as"
            bound = {**_known(node, scope), **bindings}
            lead = scope.find("...") if "..." not in bindings and leading is not None else None
            known = ", ".join(
                f"{name} = {size}"
                for name, size in {**bound, **({"...": list(lead)} if isinstance(lead, tuple) else {})}.items()
                if not isinstance(size, tuple)
            )
            fault(
                code,
                f"{takes} {node.span.text}{' with ' + known if known else ''}",
                span,
                f"this is {describe_sample(value.type)}{why}",
                others=[place] if not node.span.source.is_library else [],
                hint="`squeeze` drops dimensions of size 1"
                if (isinstance(lead, tuple) and 1 in lead) or (1 in found and len(found) > len(dims))
                else None,
            )

        kinds = {"float": value.type.is_float, "bool": value.type.dtype == "bool", "class": value.type.dtype == "i32"}
        if not kinds.get(node.kind, False):
            wrong("E0402")
        leading = next((i for i, dim in enumerate(dims) if isinstance(dim, syntax.Leading)), None)
        if leading is not None:
            count = len(found) - (len(dims) - 1)
            if count < 0:
                wrong()
            lead = tuple(found[leading : leading + count])
            if (before := scope.find("...")) is not None and before != lead:
                wrong()
            bindings["..."] = lead
            found[leading : leading + count] = []
            del dims[leading]
        if len(dims) != len(found):
            wrong()
        for dim, size in [
            *zip(dims, found, strict=True),
            *([(node.size, value.type.classes)] if node.size and value.type.classes is not None else []),
        ]:
            assert dim is not None
            if (
                isinstance(dim, syntax.Name)
                and dim.text not in bindings
                and (dim.text not in scope.names and not isinstance(scope.find(dim.text), int))
            ):
                assert isinstance(size, int)
                bindings[dim.text] = size
            else:
                expected = (
                    bindings.get(dim.text)
                    if isinstance(dim, syntax.Name) and dim.text in bindings
                    else self.constant(dim, scope)
                )
                if expected != size:
                    wrong()
        if leading is None:
            self.axis_names[value] = tuple(dim.text if isinstance(dim, syntax.Name) else None for dim in dims)
        return bindings


def _known(node: syntax.TypeOf, scope: Scope) -> dict[str, Item]:
    names = [dim.text for dim in (*node.dims, node.size) if isinstance(dim, syntax.Name)]
    return {name: item for name in names if isinstance(item := scope.find(name), int)}


def _seen_from(found: Fault, call: Span) -> Fault:
    """A fault inside a block as its user sees it: the call first where the block is the library's, the call as well where it is his own."""
    seen: list[Diagnostic] = []
    for one in found.diagnostics:
        if one.primary.span.source.is_library and not call.source.is_library:
            inside = [label for label in (one.primary, *one.others) if label.span.source.is_library]
            seen.append(
                replace(
                    one,
                    primary=Label(call, one.primary.text),
                    others=(*inside[:1], *(label for label in one.others if not label.span.source.is_library)),
                )
            )
        elif one.primary.span.source is not call.source or not (call.start <= one.primary.span.start < call.end):
            extra = (
                ()
                if any(label.text == "applied here" for label in one.others) or call.source.is_library
                else (Label(call, "applied here"),)
            )
            seen.append(replace(one, others=(*one.others, *extra)))
        else:
            seen.append(one)
    return Fault(seen)


def _library_scope() -> Scope:
    """The blocks of the `.net` files that come with netc."""
    scope = Scope()
    for entry in sorted(resources.files("netc.dsl.library").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".net"):
            for item in parse(Source(f"netc/{entry.name}", entry.read_text(encoding="utf-8"), is_library=True)).items:
                if isinstance(item, syntax.Block):
                    scope.set(item.name.text, BlockFunction(item, scope), item.name.span)
    return scope
