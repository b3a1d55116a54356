"""Formulas of one step of a sequence: at this step, at the next one, or for all steps at once."""

from collections.abc import Mapping

from netc.compiler.analysis.equations.formula import Call, Element, Formula, Name, rewritten
from netc.dsl.structs import replace

_THIS = "t"  # marks the element of something that has no name


def element(formula: Formula) -> Formula:
    """The element of a sequence at this step."""
    if isinstance(formula, Name) and formula.step is None:
        return replace(formula, step=0)
    return Element(formula, _THIS)


def all_steps(formula: Formula) -> Formula:
    """The formula for all steps at once."""

    def rule(each: Formula) -> Formula:
        match each:
            case Name(step=0):
                return replace(each, step=None)
            case Name(step=-1):
                return Call("earlier", (replace(each, step=None),))
            case Name(step=1):
                return Call("later", (replace(each, step=None),))
            case Element(inner, at) if at == _THIS:
                return inner
        return each

    return rewritten(formula, rule)


def moved(formula: Formula, by: int) -> Formula:
    """The formula at a step that comes later."""

    def rule(each: Formula) -> Formula:
        match each:
            case Name(step=int(step)):
                return replace(each, step=step + by)
            case Element(inner, at) if at == _THIS:
                return Element(inner, f"t{by:+d}")
        return each

    return rewritten(formula, rule)


def with_later(formula: Formula, later: Mapping[Name, Formula]) -> Formula:
    """The formula with what the next step contributes in its place."""
    return rewritten(formula, lambda each: later.get(each, each) if isinstance(each, Name) else each)
