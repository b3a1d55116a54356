"""Checks of a study that need the whole file: its model is elaborated with values at the edges of the search space."""

from collections.abc import Iterator, Mapping
from typing import Any

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.elaborate.settings.replaced import with_values
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.parser import parse
from netc.dsl.printer import expression
from netc.dsl.structs import replace
from netc.runtime.data.block.spec import parse_data
from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.space import Edge, Varying, edge_cases
from netc.runtime.studies.spec import parse_study

_MOST_CASES = 64  # that are elaborated: a large model takes a second


def check_study(model: Model, constants: Mapping[str, Any] | None = None, file: syntax.File | None = None) -> StudySpec:
    """The `study` block of a model, which is elaborated with every choice and with the bounds of every range.

    `constants` replaced values of `file`, by default the text that the model was read from. Raises what
    `parse_study` raises, and the faults of a model with such values.
    """
    spec = parse_study(model)
    file = file or parse(model.source)
    for number, (varying, case) in enumerate(_cases(spec)):
        if number == _MOST_CASES:
            break
        rest = {name: value for name, value in (constants or {}).items() if name not in case}
        changed = with_values(file, {name: edge.node for name, edge in case.items()})
        try:
            tried = _elaborated(changed, rest, model)
            if tried.data is not None:
                parse_data(tried)
        except Fault as error:
            raise Fault([_with_values(diagnostic, varying, case) for diagnostic in error.diagnostics]) from None
    return spec


def _elaborated(file: syntax.File, constants: Mapping[str, Any], model: Model) -> Model:
    """The model with other values. Its classes are not counted again."""
    return elaborate(file, dict(constants), lambda name, lets, span: model.counted.get(name, 2))


def _cases(spec: StudySpec) -> Iterator[tuple[Varying, Mapping[str, Edge]]]:
    """Each edge of each setting that varies, with the first values of the others with which it varies."""
    for varying in spec.space:
        seen = set[str]()
        for case in edge_cases(varying, spec.space):
            text = expression(case[varying.name].node)
            if text not in seen:
                seen.add(text)
                yield varying, case


def _with_values(diagnostic: Diagnostic, varying: Varying, case: Mapping[str, Edge]) -> Diagnostic:
    """A message that says with which value it was found, if it does not point at it."""
    edge = case[varying.name]
    at, node = diagnostic.primary.span, edge.node.span
    if at.source is node.source and node.start <= at.start and at.end <= node.end:
        return diagnostic
    label = Label(node, f"with {varying.name} = {expression(edge.node)}")
    return replace(diagnostic, others=(*diagnostic.others, label))
