"""Says what the inputs of an exported file are: their columns, the steps that are left to do, labels, fills, pictures.

A note is a sentence for people. Facts are for programs: `columns`, `labels`, `steps` and `fills`, by input.
"""

from collections.abc import Sequence
from typing import Any

from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.steps.data_step import NAMES, State, names_of_places
from netc.runtime.runs.run import Run

Facts = dict[str, dict[str, Any]]
_LISTED = 12  # names in a note


def describe_input(run: Run, name: str, left: int, facts: Facts) -> str:
    """The note about an input whose first `left` steps are not part of the file. Adds to the facts."""
    field, states = run.spec.fields[name], run.states[name]
    facts.setdefault("columns", {})[name] = list(field.columns)
    pairs = [*zip(field.steps, states, strict=True)]
    fills = [
        state["fill"]
        for step, state in pairs
        if step.name == "impute" and None not in state["fill"] and not state["drop"]
    ]
    if fills:
        columns = field.columns if len(fills[0]) == len(field.columns) else [str(i) for i in range(len(fills[0]))]
        facts.setdefault("fills", {})[name] = dict(zip(columns, fills[0], strict=True))
    if left:
        facts.setdefault("steps", {})[name] = [_entry(step, state) for step, state in pairs[:left]]
        if labels := names_of_places(states[left - 1]):
            facts.setdefault("labels", {})[name] = labels
    return "; ".join([_source(run, field), *_left(pairs[:left]), *_missing(pairs[left:])])


def is_picture(run: Run, field: FieldSpec) -> bool:
    """Whether a field is the pictures of an image source."""
    return run.spec.source.reader == "images" and field.columns == ("image",)


def _source(run: Run, field: FieldSpec) -> str:
    if is_picture(run, field):
        channels = run.spec.pictures[2] if run.spec.pictures else 3
        colours = "red, green, blue" if channels == 3 else "grey"
        return f"pictures, upright, values 0 to 255, in the order height, width, channels ({colours})"
    if len(field.columns) == 1:
        return f"column {field.columns[0]}"
    dots = ", ..." if len(field.columns) > _LISTED else ""
    return f"columns {', '.join(field.columns[:_LISTED])}{dots}, in this order"


def _left(pairs: Sequence[tuple[StepSpec, State]]) -> list[str]:
    """The steps that have to be done before."""
    if not pairs:
        return []
    labels = names_of_places(pairs[-1][1])
    dots = ", ..." if len(labels) > _LISTED else ""
    named = f", whose {len(labels):,} places are {', '.join(labels[:_LISTED])}{dots}" if labels else ""
    return [f"after {' -> '.join(step.span.text for step, _ in pairs)}{named}"]


def _missing(pairs: Sequence[tuple[StepSpec, State]]) -> list[str]:
    """The text of a missing number, if the file fills it."""
    fills = any(step.name == "impute" and not state["drop"] for step, state in pairs)
    return ["NaN where a value is missing"] if fills else []


def _entry(step: StepSpec, state: State) -> dict[str, Any]:
    """A step that is left to do, with what it learned; `labels` has the names of its places."""
    return {"step": step.span.text, **{key: value for key, value in state.items() if key not in NAMES}}
