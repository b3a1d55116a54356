"""The picture of a model as SVG inside of a page: its colours are those of the page, light or dark.

Everything is an attribute, so that it needs no style sheet and no script. A unit is a pixel.
"""

from collections.abc import Iterator

from netc.compiler.analysis.outline import Box, Outline
from netc.compiler.model import Model
from netc.dsl.quoting import svg_text
from netc.runtime.insight.drawing.grids import Link, is_lane
from netc.runtime.insight.drawing.layout import COLOURS, HEAD, LEADING, LINK, PAD, Layout, Placed, all_placed, font_size

_FONT = "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif"  # texts are measured in the first


def inline_picture(outline: Outline, model: Model, unfold: int = 0, scale: float = 1.15) -> str:
    """An `<svg>` element with the boxes of a model, blocks unfolded `unfold` levels deep.

    It is `scale` times as large as the picture of a file, and no wider than the page. The attribute `data-key` of a box
    is `line N` for line N of the file.
    """
    layout = Layout(outline, model, unfold)
    width, height = layout.outermost.width, layout.outermost.height
    parts = [part for placed in all_placed(layout.outermost) for part in _box(placed, model)]
    parts += [part for placed in all_placed(layout.outermost) for part in _links(layout, placed)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="the graph of {svg_text(model.source.file_name)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{scale * width:.0f}" font-family="{_FONT}" fill="currentColor" '
        f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )


def _box(placed: Placed, model: Model) -> Iterator[str]:
    """A rounded rectangle and its text, at the top if the box is unfolded; folded blocks have a thick edge."""
    if placed.box is None:
        return
    _, edge = COLOURS[placed.box.kind]
    is_folded = bool(placed.box.inside) and placed.grid is None
    key = f' data-key="line {placed.box.span.line}"' if placed.box.span.source is model.source else ""
    yield f"<g{key}><title>{svg_text(_place(placed.box, model))}</title>"
    yield (
        f'<rect x="{placed.x:.1f}" y="{placed.y:.1f}" width="{placed.width:.1f}" height="{placed.height:.1f}" rx="4" '
        f'fill="{edge}" fill-opacity="0.14" stroke="{edge}" stroke-width="{1.6 if is_folded else 0.8}"/>'
    )
    if placed.grid is not None:
        y = placed.y + HEAD / 2
        yield _words(placed.lines[0], placed.x + PAD, y, "start", is_title=True)
        yield _words("  ".join(placed.lines[1:]), placed.x + placed.width - PAD, y, "end", is_title=False)
    else:
        for number, line in enumerate(placed.lines):
            y = placed.y + PAD / 2 + (number + 0.5) * LEADING
            yield _words(line, placed.x + placed.width / 2, y, "middle", is_title=number == 0)
    yield "</g>"


def _place(box: Box, model: Model) -> str:
    """The line of the file that a box comes from, as its tooltip."""
    span = box.span
    if span.source is not model.source:
        return box.title
    return f"line {span.line}: {span.source.line(span.line).strip()}"


def _words(text: str, x: float, y: float, anchor: str, is_title: bool) -> str:
    weight = ' font-weight="bold"' if is_title else ' fill-opacity="0.75"'
    size = font_size(is_title)
    return (
        f'<text x="{x:.1f}" y="{y + 0.35 * size:.1f}" text-anchor="{anchor}" font-size="{size:g}"{weight}>'
        f"{svg_text(text)}</text>"
    )


def _links(layout: Layout, placed: Placed) -> Iterator[str]:
    """The links between the boxes of a grid, and the lanes in which some of them pass a row."""
    for link in placed.grid.links if placed.grid is not None else ():
        yield _link(layout, placed, link)
        if is_lane(link.end):
            x, y = layout.top(placed, link.end)
            yield f'<path d="M{x:.1f} {y:.1f}V{layout.bottom(placed, link.end):.1f}" fill="none" stroke="{LINK}"/>'


def _link(layout: Layout, placed: Placed, link: Link) -> str:
    """Straight down to the end of the row, then a curve to the next row; with an arrow head where a box is."""
    (x, y), (x0, y0), (x1, y1) = layout.path(placed, link)
    bend = (y1 - y0) / 2
    curve = f"M{x:.1f} {y:.1f}L{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
    head = f'<path d="M{x1:.1f} {y1:.1f}l-2.6 -5h5.2z" fill="{LINK}"/>' if link.end in placed.inside else ""
    return f'<path d="{curve}" fill="none" stroke="{LINK}" stroke-width="0.9"/>{head}'
