"""Declared types: reads `float[time, 28]` as a Type, and checks a value against the type that a block or an assignment
declares.
"""

from typing import NoReturn

from msgspec import Struct, field

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import Item, Length, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim, Type, describe_sample
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.mistakes.synonyms import Kind
from netc.dsl.source import Span


def type_of(context: Context, node: syntax.TypeOf, scope: Scope, field_name: str | None = None) -> Type:
    """The type that a text declares.

    `field_name` is the input or target of this type, if it is one: the data says what its `class(auto)` stands for.
    """
    check_kind(node)
    dims: list[Dim] = []
    for axis, dim in enumerate(node.dims):
        if isinstance(dim, syntax.Name) and dim.text == "None":
            others = ", ".join(other.span.text for other in node.dims if other is not dim)
            hint = f"{node.kind}[{others}]" if others else node.kind
            fault("E0401", "a type has no dimension for the batch", dim.span, "it is that of one sample", hint=hint)
        if isinstance(dim, syntax.Leading):
            fault("E0401", "`...` stands in a block's signature only", dim.span)
        varying = _varying(context, dim, scope, axis, field_name)
        dims.append(varying or constants.integer(constant(context, dim, scope), dim.span, "a dimension"))
    if node.kind == "class":
        assert node.size is not None
        if isinstance(node.size, syntax.Name) and node.size.text == "auto" and scope.find("auto") is None:
            classes = _class_count(context, node.size, field_name)
        else:
            classes = constants.integer(
                constant(context, node.size, scope), node.size.span, "the number of classes", least=2
            )
        return Type("i32", tuple(dims), classes)
    return Type("bool" if node.kind == "bool" else context.graph.precision, tuple(dims))


def _varying(context: Context, dim: syntax.Expression, scope: Scope, axis: int, field_name: str | None) -> str | None:
    """The name of a varying dimension; None if the dimension is a number.

    Raises a Fault where a dimension may not vary.
    """
    if isinstance(dim, syntax.Binary) and dim.operator == "<=" and isinstance(dim.left, syntax.Name):
        bound = constants.integer(constant(context, dim.right, scope), dim.right.span, "the longest length")
        name = _varying(context, dim.left, scope, axis, field_name)
        if name is None:
            fault("E0406", f"`{dim.left.text}` is a number", dim.left.span, "and only a varying dimension has a bound")
        dimensions = context.dimensions
        if dimensions.bounds.setdefault(name, bound) != bound:
            others = [Label(dimensions.spans[name], f"at most {dimensions.bounds[name]} here")]
            fault("E0406", f"`{name}` has two bounds", dim.span, others=others)
        return name
    if isinstance(dim, syntax.Binary | syntax.Call):
        derived = evaluate(context, dim, scope)
        return derived.dim if isinstance(derived, Length) else None
    if not isinstance(dim, syntax.Name):
        return None
    item = scope.find(dim.text)
    if item is not None and not isinstance(item, Length):
        return None
    if field_name is None:
        note = "its length differs from sample to sample" if item else "nothing of this name is defined"
        fault(
            "E0406",
            f"`{dim.text}` is not a number",
            dim.span,
            note,
            hint="only inputs and targets declare such a dimension",
        )
    if axis:
        note = "so far it stands first"
        fault("E0901", f"the varying dimension `{dim.text}` does not run here yet", dim.span, note)
    context.dimensions.spans.setdefault(dim.text, dim.span)
    scope.set(dim.text, Length(dim.text), dim.span)
    return dim.text


def check_kind(node: syntax.TypeOf) -> None:
    """Raises E0402 unless the type is a float, a bool or a class."""
    if node.kind not in ("float", "bool", "class"):
        fault(
            "E0402",
            f"there is no type `{node.kind}`",
            node.span,
            hint=nearest(node.kind, ("float", "bool", "class"), Kind.TYPE) or "types are float, bool and class(n)",
        )


def _class_count(context: Context, node: syntax.Name, field_name: str | None) -> int:
    """The number of classes that `class(auto)` stands for, from the data. Raises E0402 and E0702 if no data says it."""
    if field_name is None:
        fault(
            "E0402",
            "only inputs and targets have the type `class(auto)`",
            node.span,
            "no data says how many classes this has",
        )
    if context.class_count is None:
        fault("E0702", "`class(auto)` is read from the data, and there is none", node.span, hint="class(10)")
    context.counted[field_name] = context.class_count(field_name, node.span)
    return context.counted[field_name]


def match_type(
    context: Context, node: syntax.TypeOf, value: Value, scope: Scope, span: Span, block: syntax.Block | None = None
) -> dict[str, Item]:
    """Checks a value against a declared type, and returns what the names of its dimensions stand for.

    Raises E0401 and E0402 name both.
    """
    check_kind(node)
    kinds = {"float": value.type.is_float, "bool": value.type.dtype == "bool", "class": value.type.dtype == "i32"}
    match = _Match(context, node, value, scope, span, block, list(node.dims), list(value.type.sample))
    if not kinds[node.kind]:
        match.refuse("E0402")
    if match.has_leading:
        match.bind_leading()
    if len(match.dims) != len(match.sizes):
        match.refuse()
    for dim, size in zip(match.dims, match.sizes, strict=True):
        match.bind(dim, size)
    if node.size and value.type.classes is not None:
        match.bind(node.size, value.type.classes)
    if not match.has_leading:
        names = [dim.text if isinstance(dim, syntax.Name) else None for dim in match.dims]
        context.axis_names[value] = tuple(names)
    return match.bindings


class _Match(Struct):
    """A value that is checked against the type `node`, which a block's parameter or an assignment declares.

    `dims` are the declared dimensions and `sizes` the value's, from both of which `...` is taken; `bindings` fills up
    with names of dimensions.
    """

    context: Context
    node: syntax.TypeOf
    value: Value
    scope: Scope
    span: Span
    block: syntax.Block | None
    dims: list[syntax.Expression]
    sizes: list[Dim]
    bindings: dict[str, Item] = field(default_factory=dict)

    @property
    def has_leading(self) -> bool:
        """Whether the type is declared with `...`, which stands for any number of dimensions."""
        return any(isinstance(dim, syntax.Leading) for dim in self.node.dims)

    def bind_leading(self) -> None:
        """Binds `...` to the dimensions that it stands for, and takes it and them out."""
        leading = next(i for i, dim in enumerate(self.dims) if isinstance(dim, syntax.Leading))
        count = len(self.sizes) - (len(self.dims) - 1)
        if count < 0:
            self.refuse()
        lead = tuple(self.sizes[leading : leading + count])
        if (before := self.scope.find("...")) is not None and before != lead:
            self.refuse()
        self.bindings["..."] = lead
        del self.sizes[leading : leading + count], self.dims[leading]

    def bind(self, dim: syntax.Expression, size: Dim) -> None:
        """Binds a new name to a size; faults if the name, or another expression, stands for another size."""
        if isinstance(dim, syntax.Name) and self._is_new(dim.text):
            self.bindings[dim.text] = Length(size) if isinstance(size, str) else size
            return
        if isinstance(dim, syntax.Name) and dim.text in self.bindings:
            expected = self.bindings[dim.text]
        else:
            expected = constant(self.context, dim, self.scope)
        if (expected.dim if isinstance(expected, Length) else expected) != size:
            self.refuse()

    def _is_new(self, name: str) -> bool:
        if name in self.bindings or name in self.scope.names:
            return False
        return not isinstance(self.scope.find(name), int | Length)

    def refuse(self, code: str = "E0401") -> NoReturn:
        """Raises the fault: what is declared, with the sizes of its names as far as they are bound, and what the value
        is."""
        node, scope = self.node, self.scope
        sizes = _sizes_in_scope(node, scope)
        lead = scope.find("...") if "..." not in self.bindings and self.has_leading else None
        bound = {**sizes, **self.bindings, **({"...": _dims_text(lead)} if isinstance(lead, tuple) else {})}
        shown = ", ".join(f"{name} = {size}" for name, size in bound.items() if not isinstance(size, tuple))
        sources = [
            Label(scope.spans[name], f"{name} = {size} comes from here")
            for name, size in sizes.items()
            if name in scope.spans and not scope.spans[name].source.is_library and scope.spans[name] != self.span
        ]
        declared = [] if node.span.source.is_library else [Label(node.span, "declared here")]
        has_too_many = 1 in self.sizes and len(self.sizes) > len(self.dims)
        is_squeezable = has_too_many or (isinstance(lead, tuple) and 1 in lead)
        hint = "`squeeze` drops dimensions of size 1" if is_squeezable else self._hint(lead)
        takes = f"`{self.block.name.text}` takes" if self.block else "this is declared as"
        fault(
            code,
            f"{takes} {node.span.text}{' with ' + shown if shown else ''}",
            self.span,
            f"this is {describe_sample(self.value.type)}",
            others=[*sources, *self.context.origins([self.value], self.span), *declared],
            hint=hint,
        )

    def _hint(self, lead: Item | None) -> str | None:
        """The hint by which the operands fit: an image becomes a vector, a label becomes numbers."""
        if isinstance(lead, tuple) and lead and not self.sizes and all(isinstance(size, int) for size in lead):
            return "`-> flatten` before the last `dense` makes one vector of an image"
        names = [dim for dim in (*lead, *self.sizes) if isinstance(dim, str)] if isinstance(lead, tuple) else []
        if names and isinstance(lead, tuple) and len(lead) == len(self.sizes):
            return f"both operands need the same length: `{names[0]}` in the types of both"
        takes_steps = self.node.kind == "float" and [dim.span.text for dim in self.node.dims] == ["t", "n"]
        if takes_steps and self.value.type.is_float and len(self.sizes) == 1:
            return "a layer that reads steps takes float[t, n]: `-> unsqueeze` before it makes a step of each number"
        if takes_steps and len(self.sizes) == 3 and all(isinstance(size, int) for size in self.sizes):
            height, width, channels = (int(str(size)) for size in self.sizes)
            return f"`-> reshape({height}, {width * channels})` before it makes a step of each row of the image"
        if self.node.kind == "class" and self.value.type.is_float and self.value.role is not Role.TARGET:
            return "labels come from `-> classes` or `-> vocabulary` in `data`; numbers go into a layer such as `dense`"
        if self.node.kind == "float" and self.value.type.dtype == "bool":
            return f"`where({self.value.name or 'x'}, 1, 0)` makes numbers of it"
        is_label = self.value.type.classes is not None and self.value.role is not Role.TARGET
        if self.node.kind == "float" and is_label:
            text = self.value.name if self.value.role is Role.INPUT else self.span.text
            return f"`{text} -> embed(32)` gives each label a vector of numbers, `one_hot` a 1 at its place"
        return None


def _dims_text(dims: tuple[object, ...]) -> str:
    """Dimensions as a type is written: `[28, 28]`, `[time]`."""
    return f"[{', '.join(map(str, dims))}]"


def _sizes_in_scope(node: syntax.TypeOf, scope: Scope) -> dict[str, Item]:
    """The sizes of a declared type's dimensions that the scope knows by name."""
    names = [dim.text for dim in (*node.dims, node.size) if isinstance(dim, syntax.Name)]
    items = {name: scope.find(name) for name in names}
    return {
        name: item.dim if isinstance(item, Length) else item
        for name, item in items.items()
        if isinstance(item, int | Length)
    }
