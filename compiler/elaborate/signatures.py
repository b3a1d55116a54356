"""Declared types: `float[time, 28]` -> Type, and a value against the type that a block or an assignment asks for."""

from typing import NoReturn

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.bindings import Item, Length, Scope
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.expressions import constant, evaluate
from netc.compiler.ir.types import Dim, Type, describe_sample
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest
from netc.dsl.source import Span


def type_of(context: Context, node: syntax.TypeOf, scope: Scope, field: str | None = None) -> Type:
    """A declared type whose dimensions are all known; `field` is the input or target that it is of, whose `class(auto)` the data tells."""
    check_kind(node)
    dims: list[Dim] = []
    for axis, dim in enumerate(node.dims):
        if isinstance(dim, syntax.Leading):
            fault("E0401", "`...` stands in a block's signature only", dim.span)
        varying = _varying(context, dim, scope, axis, field)
        dims.append(varying or constants.whole(constant(context, dim, scope), dim.span, "a dimension"))
    if node.kind == "class":
        assert node.size is not None
        if isinstance(node.size, syntax.Name) and node.size.text == "auto" and scope.find("auto") is None:
            classes = _counted(context, node.size, field)
        else:
            classes = constants.whole(
                constant(context, node.size, scope), node.size.span, "the number of classes", least=2
            )
        return Type("i32", tuple(dims), classes)
    return Type("bool" if node.kind == "bool" else context.graph.precision, tuple(dims))


def _varying(context: Context, dim: syntax.Expression, scope: Scope, axis: int, field: str | None) -> str | None:
    """The name of a dimension that has another length in every sample; None if it is a number. Faults where such a name cannot stand."""
    if isinstance(dim, syntax.Binary) and dim.operator == "<=" and isinstance(dim.left, syntax.Name):
        bound = constants.whole(constant(context, dim.right, scope), dim.right.span, "the longest length")
        name = _varying(context, dim.left, scope, axis, field)
        if name is None:
            fault("E0406", f"`{dim.left.text}` is a number", dim.left.span, "and only a varying dimension has a bound")
        if context.bounds.setdefault(name, bound) != bound:
            others = [Label(context.lengths[name], f"at most {context.bounds[name]} here")]
            fault("E0406", f"`{name}` has two bounds", dim.span, others=others)
        return name
    if isinstance(dim, syntax.Binary | syntax.Call):
        derived = evaluate(context, dim, scope)
        return derived.dim if isinstance(derived, Length) else None
    if not isinstance(dim, syntax.Name):
        return None
    known = scope.find(dim.text)
    if known is not None and not isinstance(known, Length):
        return None
    if field is None:
        told = "its length differs from sample to sample" if known else "nothing of this name is defined"
        fault(
            "E0406",
            f"`{dim.text}` is no number",
            dim.span,
            told,
            hint="only inputs and targets declare such a dimension",
        )
    if axis:
        told = "so far it stands first"
        fault("E0901", f"the varying dimension `{dim.text}` does not run here yet", dim.span, told)
    context.lengths.setdefault(dim.text, dim.span)
    scope.set(dim.text, Length(dim.text), dim.span)
    return dim.text


def check_kind(node: syntax.TypeOf) -> None:
    if node.kind not in ("float", "bool", "class"):
        fault(
            "E0402",
            f"there is no type `{node.kind}`",
            node.span,
            hint=nearest(node.kind, ("float", "bool", "class")) or "types are float, bool and class(n)",
        )


def _counted(context: Context, node: syntax.Name, field: str | None) -> int:
    """What `class(auto)` stands for."""
    if field is None:
        fault("E0402", "`class(auto)` is of an input or a target", node.span, "no data tells how many classes this has")
    if context.class_count is None:
        fault("E0702", "`class(auto)` is told by the data, and there is none", node.span, hint="class(10)")
    context.counted[field] = context.class_count(field, node.span)
    return context.counted[field]


def match_type(
    context: Context, node: syntax.TypeOf, value: Value, scope: Scope, span: Span, block: syntax.Block | None = None
) -> dict[str, Item]:
    """Check a value against a declared type and bind the names of its dimensions. Faults name both."""
    check_kind(node)
    dims, found = list(node.dims), list(value.type.sample)
    leading = next((i for i, dim in enumerate(dims) if isinstance(dim, syntax.Leading)), None)
    bindings: dict[str, Item] = {}

    def wrong(code: str = "E0401", why: str = "") -> NoReturn:
        place = Label(node.span, "declared here")
        takes = f"`{block.name.text}` takes" if block else "this is declared as"
        bound = {**_known(node, scope), **bindings}
        froms = [
            Label(scope.places[name], f"{name} = {size} comes from here")
            for name, size in _known(node, scope).items()
            if name in scope.places and not scope.places[name].source.is_library and scope.places[name] != span
        ]
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
            others=[*froms, *context.origins([value], span), *([place] if not node.span.source.is_library else [])],
            hint="`squeeze` drops dimensions of size 1"
            if (isinstance(lead, tuple) and 1 in lead) or (1 in found and len(found) > len(dims))
            else None,
        )

    kinds = {"float": value.type.is_float, "bool": value.type.dtype == "bool", "class": value.type.dtype == "i32"}
    if not kinds[node.kind]:
        wrong("E0402")
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
            and (dim.text not in scope.names and not isinstance(scope.find(dim.text), int | Length))
        ):
            bindings[dim.text] = Length(size) if isinstance(size, str) else size
        else:
            expected = (
                bindings.get(dim.text)
                if isinstance(dim, syntax.Name) and dim.text in bindings
                else constant(context, dim, scope)
            )
            if (expected.dim if isinstance(expected, Length) else expected) != size:
                wrong()
    if leading is None:
        context.axis_names[value] = tuple(dim.text if isinstance(dim, syntax.Name) else None for dim in dims)
    return bindings


def _known(node: syntax.TypeOf, scope: Scope) -> dict[str, Item]:
    names = [dim.text for dim in (*node.dims, node.size) if isinstance(dim, syntax.Name)]
    found = {name: scope.find(name) for name in names}
    return {
        name: item.dim if isinstance(item, Length) else item
        for name, item in found.items()
        if isinstance(item, int | Length)
    }
