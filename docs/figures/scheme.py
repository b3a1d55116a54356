"""The colours of the figures: those of netc's own table, by the value with which a figure is drawn."""

from netc.runtime.insight.drawing.colours import COLOURS as TABLE
from netc.runtime.insight.drawing.colours import scheme_css, variables

_NAMES = ("ink", "grey", "faint", "blue", "orange", "green", "red", "purple")
_FILLS = ("blue-fill", "orange-fill", "green-fill", "grey-fill")
SCHEME = {TABLE[name].light: name for name in (*_NAMES, *_FILLS)}
INK, GREY, FAINT, BLUE, ORANGE, GREEN, RED, PURPLE, BLUE_FILL, ORANGE_FILL, GREEN_FILL, GREY_FILL = SCHEME
COLOURS = [BLUE, ORANGE, GREEN, PURPLE, RED]  # of lines, in this order


def style_element(colours: set[str]) -> str:
    """The variables of some colours in the reader's scheme."""
    return f'<style id="scheme">{scheme_css("svg", [SCHEME[colour] for colour in SCHEME if colour in colours])}</style>'


def site_colours() -> str:
    """The variables of all colours for the two colour schemes of the site, as CSS."""
    light, dark = (f"svg{{{variables(SCHEME.values(), is_dark)}}}" for is_dark in (False, True))
    return f'[data-md-color-scheme="default"] {light}[data-md-color-scheme="slate"] {dark}'
