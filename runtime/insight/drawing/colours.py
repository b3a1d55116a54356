"""The colours of all that netc draws: plots, pictures of models, pages, outputs of notebooks, figures of the docs.

Everything else names a colour of this table. Pages and plots read it as CSS variables, which follow the reader's
scheme; what cannot have a style sheet (the output of a notebook, an attribute, a PNG file) takes the value that is seen
on any background. Imports nothing of netc, so that the site of the docs may read it too.
"""

from collections.abc import Iterable

from msgspec import Struct


class Colour(Struct, frozen=True):
    """A colour on a light and on a dark background, and one that is seen on both."""

    light: str
    dark: str
    either: str


COLOURS = {
    "ink": Colour("#101828", "#e6ebf2", "#64748b"),
    "paper": Colour("#ffffff", "#12161d", "#808080"),
    "grey": Colour("#8492a6", "#93a1b5", "#8b98aa"),
    "faint": Colour("#cfd8e3", "#475569", "#94a3b8"),
    "blue": Colour("#2563eb", "#75a7ff", "#3b82c4"),
    "orange": Colour("#d9640a", "#ff9f4d", "#cf7526"),
    "green": Colour("#15903f", "#52d183", "#2e9e5b"),
    "red": Colour("#dc2626", "#ff7b72", "#d0453e"),
    "purple": Colour("#7c3aed", "#b794ff", "#8b6fd6"),
    "teal": Colour("#0e7f8c", "#45c4d1", "#1f95a1"),
    "gold": Colour("#9a6b05", "#dcab3d", "#a5841c"),
    "magenta": Colour("#b03aa6", "#e98be1", "#c05fb6"),
    "slate": Colour("#4b6470", "#9db4bf", "#64748b"),
    "olive": Colour("#5f7d0a", "#b3d04b", "#7c9426"),
    "pale-blue": Colour("#7aa5f5", "#3d68b5", "#5b88d6"),
    "pale-orange": Colour("#f0a36f", "#a8612c", "#cd834f"),
    "pale-green": Colour("#72bd8d", "#2e7d50", "#509e6f"),
    "pale-red": Colour("#ee8f8f", "#a34a4a", "#c96d6d"),
    "pale-purple": Colour("#b79af3", "#6d52ab", "#9276cf"),
    "pale-teal": Colour("#6fb9c2", "#2b7881", "#4d99a2"),
    "pale-gold": Colour("#caa654", "#87681f", "#a9873a"),
    "pale-magenta": Colour("#d78fd1", "#8f4f8a", "#b36fae"),
    "pale-slate": Colour("#97a9b2", "#5d6f78", "#7a8c95"),
    "pale-olive": Colour("#a6bd5f", "#6c7f28", "#899e44"),
    "blue-fill": Colour("#d7e6fd", "#1d3a66", "#3b82c4"),
    "orange-fill": Colour("#fde9d3", "#5c3716", "#cf7526"),
    "green-fill": Colour("#daf5e3", "#1a4a2e", "#2e9e5b"),
    "grey-fill": Colour("#edf1f6", "#333c4a", "#8b98aa"),
}
_HUES = ("blue", "orange", "green", "red", "purple", "teal", "gold", "magenta", "slate", "olive")
FILE_STYLE = ":root { color-scheme: light dark; color: CanvasText; background: Canvas; }"  # of an SVG file of its own
SERIES = (*_HUES, *(f"pale-{hue}" for hue in _HUES))  # in the order in which a plot uses them


def variables(names: Iterable[str] = COLOURS, is_dark: bool = False) -> str:
    """Colours as CSS variables, to stand in a rule: `--blue:#2563eb;`."""
    return "".join(f"--{name}:{COLOURS[name].dark if is_dark else COLOURS[name].light};" for name in names)


def scheme_css(selector: str = ":root", names: Iterable[str] = COLOURS) -> str:
    """A style sheet that gives the variables their values in the reader's scheme."""
    listed = [*names]
    light, dark = variables(listed), variables(listed, is_dark=True)
    return f"{selector}{{{light}}}@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}"
