"""The colours of the figures, in the light and in the dark colour scheme. Imports nothing, so that the site may."""

INK, GREY, FAINT = "#101828", "#94a3b8", "#cfd8e3"
BLUE, ORANGE, GREEN, RED, PURPLE = "#2563eb", "#ea7317", "#16a34a", "#dc2626", "#7c3aed"
BLUE_FILL, ORANGE_FILL, GREEN_FILL, GREY_FILL = "#d7e6fd", "#fde9d3", "#daf5e3", "#edf1f6"
COLOURS = [BLUE, ORANGE, GREEN, PURPLE, RED]  # of lines, in this order

# Colour of a figure: name of the variable, value in light and in dark.
SCHEME = {
    INK: ("ink", INK, "#e6ebf2"),
    GREY: ("grey", "#8492a6", "#93a1b5"),
    FAINT: ("faint", FAINT, "#475569"),
    BLUE: ("blue", BLUE, "#75a7ff"),
    ORANGE: ("orange", "#d9640a", "#ff9f4d"),
    GREEN: ("green", "#15903f", "#52d183"),
    RED: ("red", RED, "#ff7b72"),
    PURPLE: ("purple", PURPLE, "#b794ff"),
    BLUE_FILL: ("blue-fill", BLUE_FILL, "#1d3a66"),
    ORANGE_FILL: ("orange-fill", ORANGE_FILL, "#5c3716"),
    GREEN_FILL: ("green-fill", GREEN_FILL, "#1a4a2e"),
    GREY_FILL: ("grey-fill", GREY_FILL, "#333c4a"),
}


def style_element(colours: set[str]) -> str:
    rows = [SCHEME[colour] for colour in SCHEME if colour in colours]
    light = "".join(f"--{name}:{value};" for name, value, _ in rows)
    dark = "".join(f"--{name}:{value};" for name, _, value in rows)
    return f'<style id="scheme">svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>'


def site_colours() -> str:
    """The variables of `SCHEME` for the two colour schemes of the site, as CSS."""
    light = "".join(f"--{name}:{value};" for name, value, _ in SCHEME.values())
    dark = "".join(f"--{name}:{value};" for name, _, value in SCHEME.values())
    return f'[data-md-color-scheme="default"] svg{{{light}}}[data-md-color-scheme="slate"] svg{{{dark}}}'
