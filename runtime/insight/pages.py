"""Writes pages of sections as HTML, with the Jinja templates in `templates/`: one file that needs no network.

A page is at most MOST_BYTES long: a section for which there is no room is replaced by a note.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from netc.dsl.quoting import escaped, html_lines, json_in_html
from netc.runtime.insight.drawing.plots import style_sheet
from netc.runtime.insight.highlighted import highlighted
from netc.runtime.insight.sections import Curves, Heading, Note, Plots, Section, Source, Table

MOST_BYTES = 1_900_000
_FEWEST_LINKS = 4  # headings of a page that has a list of contents
_SCRIPTS: Mapping[str, tuple[type[Section], ...]] = {
    "highlight.js": (Plots, Table, Source),
    "curves.js": (Curves,),
}  # and the sections that need them


def page_html(title: str, subtitle: str, sections: Iterable[Section]) -> str:
    """A whole page that needs no other file."""
    parts = list(sections)
    scripts = [name for name, kinds in _SCRIPTS.items() if any(isinstance(part, kinds) for part in parts)]
    contents = {i: part.text for i, part in enumerate(parts) if isinstance(part, Heading) and part.level == 2}
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            subtitle=subtitle,
            parts=_fitting(parts),
            contents=contents if len(contents) >= _FEWEST_LINKS else {},
            scripts=scripts,
        )
    )


def section_html(section: Section) -> str:
    """One part of a page."""
    return _environment().get_template("section.html").render(section=section)


def _fitting(sections: Iterable[Section]) -> list[Markup]:
    """The parts of a page, those that would make it too large as notes."""
    parts, bytes_left = list[Markup](), MOST_BYTES
    for section in sections:
        text = section_html(section)
        size = len(text.encode())
        if size > bytes_left:
            text = section_html(Note(f"{size:,} bytes are left out here, for which the page has no room."))
            size = len(text)
        bytes_left -= size
        parts.append(Markup(text))
    return parts


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("netc.runtime.insight"),
        autoescape=True,
        finalize=_on_one_line,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"html_lines": html_lines, "json_in_html": json_in_html, "highlighted": highlighted}
    environment.globals["style_of_plots"] = style_sheet()
    return environment


def _on_one_line(value: Any) -> Any:
    """The text of an expression with escapes for its control characters and line ends; Jinja then quotes it.

    Markup stays as it is: what a macro or the filter `safe` gives.
    """
    return value if hasattr(value, "__html__") else escaped(str(value))
