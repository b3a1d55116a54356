"""The table of colours: the only place with values of colours, each seen on the backgrounds that it is for."""

import re

import pytest
from support import ROOT

from netc.runtime.insight.drawing.colours import COLOURS, SERIES, scheme_css
from netc.runtime.insight.drawing.layout import KINDS, LINK
from netc.runtime.insight.drawing.plots import style_sheet

WHITE, BLACK = "#ffffff", "#121212"  # what browsers take for Canvas
NO_LINES = {"ink", "paper", "faint", *(name for name in COLOURS if name.endswith("-fill"))}
VALUE = re.compile(r"#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3,4})\b")


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [byte / 255 for byte in bytes.fromhex(colour.removeprefix("#"))]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", sorted(COLOURS.keys() - NO_LINES))
def test_lines_are_seen(name: str) -> None:
    colour, least = COLOURS[name], 1.9 if name.startswith("pale-") else 3.0
    assert contrast(colour.light, WHITE) >= least
    assert contrast(colour.dark, BLACK) >= least
    assert min(contrast(colour.either, WHITE), contrast(colour.either, BLACK)) >= 2.5


def test_texts_are_read() -> None:
    assert contrast(COLOURS["ink"].light, WHITE) > 7
    assert contrast(COLOURS["ink"].dark, BLACK) > 7


def test_other_files_name_colours() -> None:
    """Colours of pixels (options.py) are none of a drawing."""
    folders = [ROOT / name for name in ("api", "compiler", "runtime", "docs/figures")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".css", ".js", ".html")]
    files += [*(ROOT / "docs").glob("*.py"), *(ROOT / "docs").glob("*.css")]
    names = {path.name for path in files if VALUE.search(path.read_text(encoding="utf-8"))}
    assert names == {"colours.py", "options.py"}


def test_style_sheets_name_colours_of_the_table() -> None:
    assert {*KINDS.values(), LINK, *SERIES} <= COLOURS.keys()
    sheet = style_sheet()
    for path in (ROOT / "runtime" / "insight").rglob("*"):
        if path.suffix in (".css", ".html"):
            sheet += path.read_text(encoding="utf-8")
    defined = set(re.findall(r"(--[a-z-]+)\s*:", sheet)) | {"--q", "--edge"}
    assert set(re.findall(r"var\((--[a-z-]+)[,)]", sheet)) <= defined


def test_the_scheme_of_the_reader_decides() -> None:
    blue = COLOURS["blue"]
    expected = f"svg{{--blue:{blue.light};}}@media(prefers-color-scheme:dark){{svg{{--blue:{blue.dark};}}}}"
    assert scheme_css("svg", ["blue"]) == expected
