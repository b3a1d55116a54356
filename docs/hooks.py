"""Additions to MkDocs: lists of chapters and commands, figures in the page's colours, and formulas as MathML.

Figures are inlined, because only then do they follow the reader's choice of a colour scheme. Formulas are LaTeX between
dollars in the texts (as GitHub shows them too) and MathML in the pages, so that no page needs a script or a network.
"""

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from figures.scheme import site_colours
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
FOLDERS = {"The course": "course", "Each command": "commands"}  # entries of the site's list that stand for a folder
IMAGE = re.compile(r'<p><img alt="([^"]*)" src="[^"]*pictures/(\w+)\.svg" ?/?></p>')
# Names of functions need a blank beside what is not a bracket.
NAME = r"<mi>(?:log|ln|exp|sin|cos|tan|tanh|max|min)</mi>"
BLANKS = re.compile(rf"{NAME}(?!<mo stretchy|<mo>&#x00028;|</)|</(?:mi|mn|msub|msup)>(?={NAME})")
# A minus behind an operator other than a closing bracket is a sign: without `form`, browsers put blanks around it.
SIGN = re.compile(r"(<mo(?: [^>]*)?>(?!&#x00029;|&#x0005D;|\||&#x0007C;)[^<]*</mo>|<mspace[^>]*/>)<mo>&#x02212;</mo>")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """Lists the chapters of the course and the commands in the order of their file names."""
    config.nav = _listed(config.nav)


def _listed(entry: Any) -> Any:
    """A part of the site's list, with the pages of the folders that it names."""
    match entry:
        case list():
            return [_listed(child) for child in entry]
        case dict():
            return {title: _listed(child) for title, child in entry.items()}
        case str() if entry in FOLDERS:
            folder = FOLDERS[entry]
            return {entry: [f"{folder}/{path.name}" for path in sorted((HERE / folder).glob("*.md"))]}
    return entry


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the style sheet of the figures' colours."""
    files.append(File.generated(config, "figures.css", content=site_colours()))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page's HTML with its figures inlined and its formulas as MathML."""
    figures = iter(range(len(html)))
    html = IMAGE.sub(lambda match: _figure(unescape(match[1]), match[2], next(figures)), html)
    return FORMULA.sub(lambda match: _formula(unescape(match[2]), match[1] == "div"), html)


def _figure(caption: str, name: str, number: int) -> str:
    svg = (HERE / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # colours and fonts are those of the page
    # The figures of one page share its names: clip paths would be found in the wrong figure.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>f{number}-", svg)
    opening, _, rest = svg.partition(">")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    assert size is not None, f"{name}.svg has no viewBox"
    label = escape(caption)
    return (
        f'<figure class="figure"><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-label="{label}" {size[0]} style="width:{float(size[1]) * 4 / 3:.0f}px" fill="currentColor" '
        f'stroke-linejoin="round">{rest}<figcaption>{label}</figcaption></figure>'
    )


def _formula(tex: str, is_display: bool) -> str:
    math = convert(tex.strip(), display="block" if is_display else "inline")
    math = BLANKS.sub(r'\g<0><mspace width="0.17em"/>', math)
    math = SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', math)
    return f'<div class="formula">{math}</div>' if is_display else math
