"""The colours of the figures, in the light and in the dark colour scheme. Imports nothing, so that the site may."""

INK, GREY, FAINT = "#101828", "#94a3b8", "#cfd8e3"
BLUE, ORANGE, GREEN, RED, PURPLE = "#2563eb", "#ea7317", "#16a34a", "#dc2626", "#7c3aed"
BLUE_FILL, ORANGE_FILL, GREEN_FILL, GREY_FILL = "#d7e6fd", "#fde9d3", "#daf5e3", "#edf1f6"
COLOURS = [BLUE, ORANGE, GREEN, PURPLE, RED]  # of lines, in this order

# Colour of a figure: name of the variable, value in light and in dark. The last rows are the colours of `netc show`.
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
    "#0f172a": ("title", "#0f172a", "#f1f5f9"),
    "#475569": ("soft", "#475569", "#b6c2d2"),
    "#64748b": ("link", "#64748b", "#94a3b8"),
    "#ffffff": ("paper", "#ffffff", "#232733"),
    "#dbeafe": ("input-fill", "#dbeafe", "#1d3a66"),
    "#3b82c4": ("input", "#3b82c4", "#6aaee8"),
    "#fde8d0": ("target-fill", "#fde8d0", "#5c3716"),
    "#c27a2c": ("target", "#c27a2c", "#e9a45c"),
    "#eef2f7": ("block-fill", "#eef2f7", "#333c4a"),
    "#ecfdf5": ("scan-fill", "#ecfdf5", "#173b30"),
    "#0f9f6e": ("scan", "#0f9f6e", "#34c796"),
    "#d1fae5": ("carry-fill", "#d1fae5", "#1c4d3d"),
    "#ede9fe": ("state-fill", "#ede9fe", "#3c2f63"),
    "#7c5cc4": ("state", "#7c5cc4", "#a98ff0"),
    "#dcfce7": ("output-fill", "#dcfce7", "#1a4a2e"),
    "#2e9e5b": ("output", "#2e9e5b", "#52d183"),
    "#fee2e2": ("loss-fill", "#fee2e2", "#5b2323"),
    "#d0453e": ("loss", "#d0453e", "#ff8078"),
    "#fef9c3": ("metric-fill", "#fef9c3", "#4a4413"),
    "#a58b13": ("metric", "#a58b13", "#dcc24a"),
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
