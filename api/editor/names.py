"""Binds the names of a text: each symbol with the spans that define it and those that use it.

Knows scopes, but no values.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from netc.dsl import syntax
from netc.dsl.node import Node, children
from netc.dsl.source import Span


class Symbol(Struct, eq=False):
    """A name that the text defines. `kind` is "input", "block", "value", "dimension", ..."""

    name: str
    kind: str
    definitions: list[Span] = field(default_factory=list)
    uses: list[Span] = field(default_factory=list)
    node: Node | None = None

    @property
    def spans(self) -> list[Span]:
        return [*self.definitions, *self.uses]

    def defined_at(self, use: Span) -> Span:
        """The definition that a use refers to: the last one before it."""
        before = [definition for definition in self.definitions if definition.start < use.start]
        return before[-1] if before else self.definitions[0]


class Names(Struct):
    """The symbols of a text, and the names that it uses without defining them."""

    symbols: list[Symbol] = field(default_factory=list)
    others: list[syntax.Name] = field(default_factory=list)
    scopes: "list[tuple[Span, _Scope]]" = field(default_factory=list)

    def at(self, offset: int) -> tuple[Symbol, Span] | None:
        """The symbol whose name stands at an offset, and the span of that name."""
        for symbol in self.symbols:
            for span in symbol.spans:
                if span.start <= offset <= span.end:
                    return symbol, span
        return None

    def other_at(self, offset: int) -> syntax.Name | None:
        """The name at an offset that the text uses without defining it."""
        return next((name for name in self.others if name.span.start <= offset <= name.span.end), None)

    def visible_at(self, offset: int) -> list[Symbol]:
        """The symbols of the scopes around an offset."""
        visible: dict[str, Symbol] = {}
        inner = [scope for span, scope in self.scopes if span.start <= offset <= span.end]
        for scope in inner:
            visible |= scope.names
        return list(visible.values())


class _Scope(Struct, eq=False):
    around: "_Scope | None" = None
    names: dict[str, Symbol] = field(default_factory=dict)

    def find(self, name: str) -> Symbol | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.around
        return None


def names_of(file: syntax.File) -> Names:
    """Binds the names of a file."""
    return _Binder(file).names


class _Binder:
    """Walks the file once.

    Names that a file defines are visible in all of it, names that a model or a block defines from there on.
    """

    def __init__(self, file: syntax.File) -> None:
        self.names = Names()
        self.fields: dict[str, Symbol] = {}  # inputs and targets, which the data block provides
        self.losses: dict[str, Symbol] = {}
        self.noted: set[tuple[int, Span]] = set()  # (id of a symbol, span): what was noted
        span = Span(file.source, 0, len(file.source.text))
        top = self.scope(span, None)
        for item in file.items:
            kind = {syntax.Let: "let", syntax.Block: "block", syntax.Op: "op", syntax.Layer: "layer"}.get(type(item))
            name = getattr(item, "name", None)
            if kind is not None and isinstance(name, syntax.Name):
                self.define(top, name, kind, item)
            elif isinstance(item, syntax.Import) and item.alias is not None:
                self.define(top, item.alias, "import", item)
        for item in sorted(file.items, key=lambda item: not isinstance(item, syntax.Model)):  # models first
            self.item(item, top)

    def scope(self, span: Span, around: _Scope | None) -> _Scope:
        scope = _Scope(around)
        self.names.scopes.append((span, scope))
        return scope

    def define(self, scope: _Scope, name: syntax.Name, kind: str, node: Node | None = None) -> Symbol:
        symbol = scope.names.get(name.text)
        if symbol is None:
            symbol = scope.names[name.text] = Symbol(name.text, kind, node=node)
            self.names.symbols.append(symbol)
        if self.is_new(symbol, name.span):
            symbol.definitions.append(name.span)
        return symbol

    def is_new(self, symbol: Symbol, span: Span) -> bool:
        """Notes a span of a symbol. Returns whether it was not noted before."""
        is_noted = (id(symbol), span) in self.noted
        self.noted.add((id(symbol), span))
        return not is_noted

    def use(self, name: syntax.Name, scope: _Scope) -> Symbol | None:
        symbol = scope.find(name.text)
        if symbol is None:
            self.names.others.append(name)
        elif self.is_new(symbol, name.span):
            symbol.uses.append(name.span)
        return symbol

    # ------------------------------------------------------------ items

    def item(self, item: syntax.Item, top: _Scope) -> None:
        match item:
            case syntax.Let(value=value) | syntax.Layer(value=value):
                self.walk(value, top)
            case syntax.Model(body=body):
                self.body(body, self.scope(item.span, top))
            case syntax.Block():
                self.block(item, top)
            case syntax.Op(parameters=parameters, value=value):
                inner = self.scope(item.span, top)
                for name in parameters:
                    self.define(inner, name, "argument")
                self.walk(value, inner)
            case syntax.Data(settings=settings):
                for setting in settings:
                    self.use_of(setting.name, self.fields)
                    self.walk(setting.value, top)
            case syntax.Study(settings=settings):
                for varying in settings:
                    self.varying(varying, top)
            case syntax.Train(settings=settings):
                for setting in settings:
                    self.loss_names(setting)
                    self.walk(setting.value, top)

    def block(self, block: syntax.Block, top: _Scope) -> None:
        inner = self.scope(block.span, top)
        for parameter in block.parameters:
            if parameter.default is not None:
                self.walk(parameter.default, inner)
            self.define(inner, parameter.name, "argument", parameter)
            if parameter.type is not None:
                self.type(parameter.type, inner)
        self.body(block.body, inner)

    def varying(self, setting: syntax.StudySetting, top: _Scope) -> None:
        """Binds the names of a study's setting: a `let` that varies, and those that its values and condition use."""
        if setting.name.text in top.names:
            self.use(setting.name, top)
        self.walk(setting.value, top)
        if setting.condition is not None:
            self.walk(setting.condition, top)

    def loss_names(self, setting: syntax.Setting) -> None:
        """Notes the losses that `loss_scale = (name = ...)` names."""
        if setting.name.text == "loss_scale" and isinstance(setting.value, syntax.Tuple):
            for entry in setting.value.entries:
                self.use_of(entry.name, self.losses)

    @staticmethod
    def use_of(name: syntax.Name | syntax.Text | None, symbols: dict[str, Symbol]) -> None:
        """Notes that a name uses one of some symbols, if it is the name of one."""
        if isinstance(name, syntax.Name) and name.text in symbols:
            symbols[name.text].uses.append(name.span)

    def body(self, statements: tuple[syntax.Statement, ...], scope: _Scope) -> None:
        for statement in statements:
            self.statement(statement, scope)

    def statement(self, statement: syntax.Statement, scope: _Scope) -> None:  # noqa: C901  a case for each kind of node
        match statement:
            case syntax.Input(name=name, type=type_) | syntax.Target(name=name, type=type_):
                kind = "input" if isinstance(statement, syntax.Input) else "target"
                self.fields[name.text] = self.define(scope, name, kind, statement)
                self.type(type_, scope)
            case syntax.Assign(names=names, type=type_, value=value):
                self.walk(value, scope)
                if type_ is not None:
                    self.type(type_, scope)
                for name in names:
                    self.define(scope, name, "value", statement)
            case syntax.Output(name=name, value=value) | syntax.Layer(name=name, value=value):
                self.walk(value, scope)
                if isinstance(statement, syntax.Output) and name.text in scope.names:  # `output z = z`
                    self.use(name, scope)
                else:
                    self.define(scope, name, "output" if isinstance(statement, syntax.Output) else "layer", statement)
            case syntax.Loss(name=label, value=value) | syntax.Metric(name=label, value=value):
                self.walk(value, scope)
                if label is not None and isinstance(statement, syntax.Loss):
                    self.losses[label.text] = Symbol(label.text, "loss", [label.span], node=statement)
                    self.names.symbols.append(self.losses[label.text])
            case (
                syntax.Param(name=name, type=type_, initial=initial)
                | syntax.State(name=name, type=type_, initial=initial)
            ):
                self.type(type_, scope)
                if initial is not None:
                    self.walk(initial, scope)
                self.define(scope, name, "param" if isinstance(statement, syntax.Param) else "state", statement)
            case syntax.Update(name=name, value=value):
                self.use(name, scope)
                self.walk(value, scope)
            case syntax.For(name=name, start=start, stop=stop, body=body):
                self.walk(start, scope)
                self.walk(stop, scope)
                self.define(scope, name, "counter", statement)
                self.body(body, scope)
            case syntax.Watch(value=value):
                self.walk(value, scope)
            case syntax.Return(values=values) | syntax.Yield(values=values):
                for value in values:
                    self.walk(value, scope)

    # ------------------------------------------------------------ types and expressions

    def type(self, type_: syntax.TypeOf, scope: _Scope) -> None:
        """Binds the names in a type. A name that is not defined yet is a dimension that is declared here."""
        if type_.size is not None and not (isinstance(type_.size, syntax.Name) and type_.size.text == "auto"):
            self.size(type_.size, scope)
        for dim in type_.dims:
            self.size(dim, scope)

    def size(self, node: syntax.Expression, scope: _Scope) -> None:
        for name in _names(node):
            if scope.find(name.text) is None:
                self.define(scope, name, "dimension")
            else:
                self.use(name, scope)

    def walk(self, node: Node, scope: _Scope) -> None:
        """Binds the names of an expression in the order of the text. In a loop, because a long chain is a deep tree."""
        pending = [node]
        while pending:
            match part := pending.pop():
                case syntax.Name():
                    self.use(part, scope)
                case syntax.Attribute(value=value):
                    pending.append(value)
                case syntax.Call(function=function, arguments=arguments):
                    called = scope.find(function.text) if isinstance(function, syntax.Name) else None
                    for argument in arguments:
                        self.keyword(argument, called)
                    pending += [*(argument.value for argument in reversed(arguments)), function]
                case syntax.Tuple(entries=entries):
                    pending += [entry.value for entry in reversed(entries)]
                case syntax.Scan():
                    self.scan(part, scope)
                case _:
                    pending += reversed(list(children(part)))

    def keyword(self, argument: syntax.Argument, called: Symbol | None) -> None:
        """Binds the name in `dense(x, units = 3)` to the block's argument, if the block is in this file."""
        if called is None or not isinstance(called.node, syntax.Block) or not isinstance(argument.name, syntax.Name):
            return
        for parameter in called.node.parameters:
            if parameter.name.text == argument.name.text:
                self.symbol_of(parameter).uses.append(argument.name.span)

    def symbol_of(self, parameter: syntax.Parameter) -> Symbol:
        """The symbol of a block's argument, which is new if the block comes later in the text."""
        for symbol in self.names.symbols:
            if parameter.name.span in symbol.definitions:
                return symbol
        symbol = Symbol(parameter.name.text, "argument", [parameter.name.span], node=parameter)
        self.names.symbols.append(symbol)
        return symbol

    def scan(self, node: syntax.Scan, scope: _Scope) -> None:
        for over in node.over if isinstance(node.over, tuple) else (node.over.start, node.over.stop):
            self.walk(over, scope)
        for carry in node.carries:
            self.walk(carry.value, scope)
        inner = self.scope(node.span, scope)
        for name in node.names:
            self.define(inner, name, "step", node)
        for carry in node.carries:
            self.define(inner, carry.name, "carry", carry)
        self.body(node.body, inner)
        if node.until is not None:
            self.walk(node.until, inner)


def _names(node: Node) -> Iterator[syntax.Name]:
    """The names in a dimension: `time`, `2 * n`, `time <= 40`."""
    pending = [node]
    while pending:
        match part := pending.pop():
            case syntax.Name():
                yield part
            case syntax.Call(arguments=arguments):
                pending += [argument.value for argument in reversed(arguments)]
            case _:
                pending += reversed(list(children(part)))
