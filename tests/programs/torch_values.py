"""The values of names in the evaluation by PyTorch: values of the batch, several results, functions, scopes."""

from typing import Any

from msgspec import Struct

from netc.dsl import syntax


class Unsupported(Exception):
    """Raised if the program needs something that is not written in PyTorch here."""


class Samples(tuple):  # type: ignore[type-arg]
    """A value that depends on data: a tensor (or a number) for each sample."""


class Results(list):  # type: ignore[type-arg]
    """Several results of one application."""


class Pair(list):  # type: ignore[type-arg]
    """A tuple in the text, such as the two numbers of a kernel, or several axes."""


class Function(Struct, frozen=True):
    """A block, an `op` or an operation with some of its arguments: the right side of `->`, or an argument."""

    name: str
    arguments: tuple[syntax.Argument, ...] = ()
    scope: "Scope | None" = None
    parameters: list[Any] | None = None  # the parameters of a `layer`, after it was applied


class Scope(dict[str, Any]):
    """Names, and the scope around them."""

    def __init__(self, outer: "Scope | None" = None) -> None:
        super().__init__()
        self.outer = outer

    def find(self, name: str) -> Any:
        return self[name] if name in self else self.outer.find(name) if self.outer is not None else None


def is_pair(value: Any) -> bool:
    return isinstance(value, Pair) or (isinstance(value, tuple) and not isinstance(value, Samples))
