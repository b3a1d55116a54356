"""The picture of a model as SVG inside of a page: its colours are those of the page, light or dark.

Everything is an attribute, so that it needs no style sheet and no script. A unit is a pixel.
"""

from netc.compiler.analysis.outline import Box, Outline
from netc.compiler.model import Model
from netc.dsl.quoting import svg_text
from netc.runtime.insight.drawing.colours import COLOURS
from netc.runtime.insight.drawing.layout import LINK, TINT, Layout
from netc.runtime.insight.drawing.shapes import Curve, Lane, Rectangle, Words, links, rectangles

_FONT = "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif"  # texts are measured in the first
_LINE = COLOURS[LINK].either


def inline_picture(outline: Outline, model: Model, unfold: int = 0, scale: float = 1.15) -> str:
    """An `<svg>` element with the boxes of a model, blocks unfolded `unfold` levels deep.

    It is `scale` times as large as the picture of a file, and no wider than the page. The attribute `data-key` of a box
    is `line N` for line N of the file.
    """
    layout = Layout(outline, model, unfold)
    width, height = layout.outermost.width, layout.outermost.height
    parts = [_box(rectangle, model) for rectangle in rectangles(layout)]
    parts += [_link(link) for link in links(layout)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="the graph of {svg_text(model.source.file_name)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{scale * width:.0f}" font-family="{_FONT}" fill="currentColor" '
        f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )


def _box(shape: Rectangle, model: Model) -> str:
    (x, y), colour, span = shape.corner, COLOURS[shape.colour].either, shape.box.span
    key = f' data-key="line {span.line}"' if span.source is model.source else ""
    return (
        f"<g{key}><title>{svg_text(_described(shape.box, model))}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" rx="4" '
        f'fill="{colour}" fill-opacity="{TINT:g}" stroke="{colour}" stroke-width="{shape.edge:g}"/>'
        f"{''.join(map(_text, shape.words))}</g>"
    )


def _described(box: Box, model: Model) -> str:
    """The line of the file that a box comes from, as its tooltip."""
    span = box.span
    if span.source is not model.source:
        return box.title
    return f"line {span.line}: {span.source.line(span.line).strip()}"


def _text(words: Words) -> str:
    weight = ' font-weight="bold"' if words.is_title else ' fill-opacity="0.75"'
    y = words.y + 0.35 * words.size
    return (
        f'<text x="{words.x:.1f}" y="{y:.1f}" text-anchor="{words.anchor}" font-size="{words.size:g}"{weight}>'
        f"{svg_text(words.text)}</text>"
    )


def _link(link: Curve | Lane) -> str:
    if isinstance(link, Lane):
        x, y = link.top
        return f'<path d="M{x:.1f} {y:.1f}V{link.bottom:.1f}" fill="none" stroke="{_LINE}"/>'
    (x, y), (x0, y0), (x1, y1) = link.begin, link.turn, link.end
    (xa, ya), (xb, yb) = link.controls
    curve = f"M{x:.1f} {y:.1f}L{x0:.1f} {y0:.1f}C{xa:.1f} {ya:.1f} {xb:.1f} {yb:.1f} {x1:.1f} {y1:.1f}"
    head = f'<path d="M{x1:.1f} {y1:.1f}l-2.6 -5h5.2z" fill="{_LINE}"/>' if link.has_head else ""
    return f'<path d="{curve}" fill="none" stroke="{_LINE}" stroke-width="0.9"/>{head}'
