"""Which name is which in a text: each symbol with the places that define it and the places that use it. It knows scopes, and nothing of values."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from netc.dsl import syntax
from netc.dsl.source import Span


@dataclass(slots=True, eq=False)
class Symbol:
    """A name of the text. `kind` is what a reader would call it: "input", "block", "value", "dimension", ..."""

    name: str
    kind: str
    definitions: list[Span] = field(default_factory=list)
    uses: list[Span] = field(default_factory=list)
    node: syntax.Node | None = None

    @property
    def places(self) -> list[Span]:
        return [*self.definitions, *self.uses]

    def defined_at(self, use: Span) -> Span:
        """The definition that a use reads: the last one before it."""
        before = [one for one in self.definitions if one.start < use.start]
        return before[-1] if before else self.definitions[0]


@dataclass(slots=True)
class Names:
    """Of one text: its symbols, and the names that it uses without defining them."""

    symbols: list[Symbol] = field(default_factory=list)
    others: list[syntax.Name] = field(default_factory=list)
    scopes: "list[tuple[Span, _Scope]]" = field(default_factory=list)

    def at(self, offset: int) -> tuple[Symbol, Span] | None:
        """The symbol whose name stands at an offset, and where that begins and ends."""
        for symbol in self.symbols:
            for place in symbol.places:
                if place.start <= offset <= place.end:
                    return symbol, place
        return None

    def other_at(self, offset: int) -> syntax.Name | None:
        return next((one for one in self.others if one.span.start <= offset <= one.span.end), None)

    def visible_at(self, offset: int) -> list[Symbol]:
        """What may be used at an offset: the names of the scopes around it."""
        found: dict[str, Symbol] = {}
        inner = [scope for span, scope in self.scopes if span.start <= offset <= span.end]
        for scope in inner:
            found |= scope.names
        return list(found.values())


@dataclass(slots=True, eq=False)
class _Scope:
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
    """The names of a file, each bound."""
    return _Binder(file).names


class _Binder:
    """Walks the file once. What a file defines is visible in all of it, what a model or a block defines from there on."""

    def __init__(self, file: syntax.File) -> None:
        self.names = Names()
        self.fields: dict[str, Symbol] = {}  # inputs and targets, which the data block gives
        self.losses: dict[str, Symbol] = {}
        self.places: set[tuple[int, Span]] = set()  # of each symbol, by its id
        whole = Span(file.source, 0, len(file.source.text))
        top = self.scope(whole, None)
        for item in file.items:
            kind = {syntax.Let: "let", syntax.Block: "block", syntax.Op: "op", syntax.Layer: "layer"}.get(type(item))
            name = getattr(item, "name", None)
            if kind is not None and isinstance(name, syntax.Name):
                self.define(top, name, kind, item)
            elif isinstance(item, syntax.Import) and item.alias is not None:
                self.define(top, item.alias, "import", item)
        models = [item for item in file.items if isinstance(item, syntax.Model)]
        for item in [*models, *(one for one in file.items if not isinstance(one, syntax.Model))]:
            self.item(item, top)

    def scope(self, span: Span, around: _Scope | None) -> _Scope:
        made = _Scope(around)
        self.names.scopes.append((span, made))
        return made

    def define(self, scope: _Scope, name: syntax.Name, kind: str, node: syntax.Node | None = None) -> Symbol:
        symbol = scope.names.get(name.text)
        if symbol is None:
            symbol = scope.names[name.text] = Symbol(name.text, kind, node=node)
            self.names.symbols.append(symbol)
        if self.is_new(symbol, name.span):
            symbol.definitions.append(name.span)
        return symbol

    def is_new(self, symbol: Symbol, place: Span) -> bool:
        """Whether this place of a symbol is not noted yet; it is from now on."""
        known = (id(symbol), place) in self.places
        self.places.add((id(symbol), place))
        return not known

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
            case syntax.Block(parameters=parameters, body=body):
                inner = self.scope(item.span, top)
                for parameter in parameters:
                    if parameter.default is not None:
                        self.walk(parameter.default, inner)
                    self.define(inner, parameter.name, "argument", parameter)
                    if parameter.type is not None:
                        self.type(parameter.type, inner)
                self.body(body, inner)
            case syntax.Op(parameters=parameters, value=value):
                inner = self.scope(item.span, top)
                for name in parameters:
                    self.define(inner, name, "argument")
                self.walk(value, inner)
            case syntax.Data(settings=settings):
                for setting in settings:
                    if setting.name.text in self.fields:
                        self.fields[setting.name.text].uses.append(setting.name.span)
                    self.walk(setting.value, top)
            case syntax.Train(settings=settings):
                for setting in settings:
                    if setting.name.text == "loss_scale" and isinstance(setting.value, syntax.Tuple):
                        for entry in setting.value.entries:
                            if isinstance(entry.name, syntax.Name) and entry.name.text in self.losses:
                                self.losses[entry.name.text].uses.append(entry.name.span)
                    self.walk(setting.value, top)

    def body(self, statements: tuple[syntax.Statement, ...], scope: _Scope) -> None:
        for statement in statements:
            self.statement(statement, scope)

    def statement(self, statement: syntax.Statement, scope: _Scope) -> None:
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
        """A name in brackets is a size that is known, or a dimension that is named here."""
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

    def walk(self, node: syntax.Node, scope: _Scope) -> None:
        """Bind the names of an expression, in the order of the text; in a loop, as a long chain is a deep tree."""
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
                    pending += reversed(list(syntax.children(part)))

    def keyword(self, argument: syntax.Argument, called: Symbol | None) -> None:
        """`dense(x, units = 3)`: the name is an argument of the block, if that is one of this file's."""
        if called is None or not isinstance(called.node, syntax.Block) or not isinstance(argument.name, syntax.Name):
            return
        for parameter in called.node.parameters:
            if parameter.name.text == argument.name.text:
                known = next((one for one in self.names.symbols if parameter.name.span in one.definitions), None)
                if known is None:  # the block comes later in the text
                    known = Symbol(parameter.name.text, "argument", [parameter.name.span], node=parameter)
                    self.names.symbols.append(known)
                known.uses.append(argument.name.span)

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


def _names(node: syntax.Node) -> Iterator[syntax.Name]:
    """The names in a dimension: `time`, `2 * n`, `time <= 40`."""
    pending = [node]
    while pending:
        match part := pending.pop():
            case syntax.Name():
                yield part
            case syntax.Call(arguments=arguments):
                pending += [argument.value for argument in reversed(arguments)]
            case _:
                pending += reversed(list(syntax.children(part)))
