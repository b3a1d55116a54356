"""The layers of a model as rows of a table, which `netc check` prints and a notebook shows."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from netc.commands.quantities import rounded, share

if TYPE_CHECKING:
    from netc.compiler.analysis.layers import Layer

HEADS = ("line", "layer", "output", "parameters", "FLOPs", "share")
RIGHT = (0, 3, 4, 5)  # columns of numbers


def layer_facts(layers: "Iterable[Layer]") -> list[dict[str, Any]]:
    """The layers as JSON has them."""
    return [
        {
            "line": layer.line,
            "layer": layer.title,
            "type": layer.type,
            "parameters": layer.parameters,
            "is_shared": layer.is_shared,
            "flops": layer.flops,
        }
        for layer in layers
    ]


def layer_rows(facts: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each layer, below HEADS. Its share is that of the FLOPs of all layers."""
    work = work_of(facts)
    return [
        (
            str(layer["line"]),
            layer["layer"],
            layer["type"],
            "shared" if layer["is_shared"] and not layer["parameters"] else _count(layer["parameters"]),
            rounded(layer["flops"]) if layer["flops"] else "",
            share(layer["flops"] or 0, work),
        )
        for layer in facts
    ]


def work_of(facts: Iterable[dict[str, Any]]) -> int:
    """The FLOPs of all layers for one sample."""
    return sum(layer["flops"] or 0 for layer in facts)


def _count(count: int) -> str:
    return f"{count:,}" if count else ""
