"""The picture of a model as one HTML page: blocks fold, and a click on a box shows its shape, its location and its
parameters. The page needs no other file and no network.
"""

from collections.abc import Iterable, Iterator
from importlib import resources

from netc.compiler.analysis.outline import Box, Outline
from netc.compiler.model import Model
from netc.dsl.quoting import html_text, json_in_html
from netc.runtime.insight.drawing.colours import scheme_css
from netc.runtime.insight.drawing.grids import TOP, Grid, box_item, grids_of, is_lane
from netc.runtime.insight.drawing.layout import KINDS
from netc.runtime.insight.drawing.words import details_of, lines_of

_HEAD = (  # of an arrow
    '<marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0 0 6 3 0 6z"/></marker>'
)


def page(outline: Outline, model: Model, unfold: int = 0) -> str:
    """The page; at first, blocks are unfolded `unfold` levels deep."""
    grids, name = grids_of(outline), html_text(model.source.file_name)
    links = {key: [(link.begin, link.end, link.source) for link in grid.links] for key, grid in grids.items()}
    details = {box_item(box.key): details_of(box, model).as_dict() for box in outline.all()}
    facts = json_in_html({"links": links, "details": details})
    style, script = (resources.files(__package__).joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    count = model.parameter_count
    boxes = "".join(_grid(grids, outline.boxes, TOP, model, unfold))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>
<style>{scheme_css()}
{style}</style>
<body>
<main>
<h1>{name}</h1>
<p>{count:,} parameters. A triangle, or a double click, unfolds a block.</p>
<nav><button id="unfold">unfold all</button> <button id="fold">fold all</button></nav>
<div id="scroll"><div id="picture"><svg><defs>{_HEAD}</defs><g></g></svg>
{boxes}</div></div>
</main>
<aside><p>A click on a box shows its shape, its line and its parameters.</p></aside>
<script type="application/json" id="facts">{facts}</script>
<script>{script}</script>
</body></html>
"""


def _grid(grids: dict[int, Grid], boxes: Iterable[Box], key: int, model: Model, unfold: int) -> Iterator[str]:
    """A grid of boxes, lanes and ports."""
    by_item = {box_item(box.key): box for box in boxes}
    yield f'<div class="grid"{" id=0" if key == TOP else ""}>'
    for item, (row, column) in grids[key].positions.items():
        position = f"grid-row:{row + 1};grid-column:{column + 1}"
        if item in by_item:
            yield from _box(grids, by_item[item], position, model, unfold)
        else:
            yield f'<div class="{"lane" if is_lane(item) else "port"}" id="{item}" style="{position}"></div>'
    yield "</div>"


def _box(grids: dict[int, Grid], box: Box, position: str, model: Model, unfold: int) -> Iterator[str]:
    """A box, with its own grid of boxes inside."""
    title, *rest = (html_text(line) for line in lines_of(box, model))
    is_open = unfold > 0
    kinds = ["box", *(["holds"] if box.inside else []), *(["open"] if box.inside and is_open else [])]
    button = f'<button class="fold" title="unfold or fold">{"▾" if is_open else "▸"}</button>' if box.inside else ""
    yield f'<div class="{" ".join(kinds)}" id="{box.key}" style="{position};--edge:var(--{KINDS[box.kind]})">'
    yield f"<b>{button}{title}</b>" + "".join(f"<small>{line}</small>" for line in rest)
    if box.inside:
        yield from _grid(grids, box.inside, box.key, model, unfold - 1)
    yield "</div>\n"
