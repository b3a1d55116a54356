"""Objects that a notebook shows as HTML. They only say that they are; a higher floor, which knows HTML, writes it.

`_repr_html_` is the method that Jupyter and other notebooks ask for; None means that the printed form is shown.
"""

from collections.abc import Callable

Renderer = Callable[[object], str | None]
_renderers: list[Renderer] = []


class Displayed:
    """A base of objects that have a form in HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return _renderers[-1](self) if _renderers else None


def render_with(renderer: Renderer) -> None:
    """Sets the function that writes the HTML of all such objects from now on."""
    _renderers.append(renderer)
