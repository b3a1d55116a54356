"""Where the boxes of a model stand: a grid for each box that holds others, its rows by what comes before what, and the links between its places.

Layers by the longest way from above (Sugiyama, Tagawa and Toda 1981). A link that passes rows has a lane in each of them, so it crosses no box; what goes on stays
in its column, so a chain is a straight line. A link between boxes of different depth passes a port of each box that it enters or leaves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from netc.compiler.outline import Box, Outline

TOP = 0  # the grid of the outermost boxes; others have the key of their box
Item = str  # a box (its key), or a port (`i` enters, `o` leaves) or a lane (`l`)


def box_item(key: int) -> Item:
    return str(key)


def is_lane(item: Item) -> bool:
    return item[0] == "l"


def port_in(grid: int, source: int) -> Item:
    return f"i{grid}.{source}"


def port_out(grid: int, source: int) -> Item:
    return f"o{grid}.{source}"


@dataclass(frozen=True, slots=True)
class Link:
    """A piece of a way from the box `source`: from one item to another one in a row below."""

    begin: Item
    end: Item
    source: int


@dataclass(slots=True)
class Grid:
    """`places` says for an item in which row and column it is; `links` go down from row to row."""

    places: dict[Item, tuple[int, int]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)


def grids_of(outline: Outline) -> dict[int, Grid]:
    """The grid of the outermost boxes, and of each box that holds others."""
    parents = dict(_parents(outline.boxes, TOP))
    items: dict[int, list[Item]] = {TOP: [box_item(box.key) for box in outline.boxes]}
    items |= {box.key: [box_item(one.key) for one in box.inside] for box in outline.all() if box.inside}
    links: dict[int, dict[Link, None]] = {grid: {} for grid in items}
    for begin, end in outline.edges:
        for grid, link in _pieces(begin, end, parents):
            links[grid][link] = None
    return {grid: _arranged(items[grid], list(found)) for grid, found in links.items()}


def _parents(boxes: Iterable[Box], grid: int) -> Iterator[tuple[int, int]]:
    for box in boxes:
        yield box.key, grid
        yield from _parents(box.inside, box.key)


def _way(key: int, parents: dict[int, int]) -> list[int]:
    """A box and the boxes around it, from the outermost in."""
    way = [key]
    while way[0] != TOP:
        way.insert(0, parents[way[0]])
    return way


def _pieces(begin: int, end: int, parents: dict[int, int]) -> Iterator[tuple[int, Link]]:
    """The links of an edge, each with its grid."""
    out, into = _way(begin, parents), _way(end, parents)
    shared = next(i for i in range(len(out) + 1) if out[i : i + 1] != into[i : i + 1]) - 1
    for at in range(len(out) - 2, shared, -1):
        yield out[at], Link(box_item(out[at + 1]), port_out(out[at], begin), begin)
    yield out[shared], Link(box_item(out[shared + 1]), box_item(into[shared + 1]), begin)
    for at in range(shared + 1, len(into) - 1):
        yield into[at], Link(port_in(into[at], begin), box_item(into[at + 1]), begin)


# ------------------------------------------------------------------ one grid


def _arranged(boxes: list[Item], links: list[Link]) -> Grid:
    rows = _rows(boxes, links)
    grid = Grid()
    for begin, source in dict.fromkeys((link.begin, link.source) for link in links):
        grid.links += _with_lanes([one for one in links if (one.begin, one.source) == (begin, source)], rows)
    lanes = {link.end: int(link.end.rpartition(".")[2]) for link in grid.links if is_lane(link.end)}
    _columns(grid, {**rows, **lanes})
    return grid


def _rows(boxes: list[Item], links: list[Link]) -> dict[Item, int]:
    """Each item as high as what comes before allows; what nothing comes before, just above what needs it."""
    before: dict[Item, list[Item]] = {item: [] for item in boxes}
    after: dict[Item, list[Item]] = {}
    for link in links:
        before.setdefault(link.begin, [])
        before.setdefault(link.end, []).append(link.begin)
        after.setdefault(link.begin, []).append(link.end)
    first = int(any(item[0] == "i" for item in before))
    rows: dict[Item, int] = {}

    def row(item: Item) -> int:
        waiting = [item]
        while waiting:
            open_ones = [one for one in before[waiting[-1]] if one not in rows]
            if open_ones:
                waiting += open_ones
                continue
            now = waiting.pop()
            rows[now] = 0 if now[0] == "i" else max([first - 1, *(rows[one] for one in before[now])]) + 1
        return rows[item]

    for item in before:
        row(item)
    for item in boxes:
        if not before[item] and after.get(item):
            rows[item] = max(first, min(rows[one] for one in after[item]) - 1)
    last = max(rows.values(), default=0) + 1
    return {item: last if item[0] == "o" else at for item, at in rows.items()}


def _with_lanes(links: list[Link], rows: dict[Item, int]) -> Iterator[Link]:
    """Links from one place, which share a lane in each row that they pass."""
    begin, source = links[0].begin, links[0].source
    last = max(rows[link.end] for link in links)
    passed = {rows[begin]: begin}
    for row in range(rows[begin] + 1, last):
        passed[row] = f"l{begin}.{source}.{row}"
        yield Link(passed[row - 1], passed[row], source)
    for link in links:
        yield Link(passed[rows[link.end] - 1], link.end, source)


def _columns(grid: Grid, rows: dict[Item, int]) -> None:
    """Row by row from above: a lane goes on in its column, a box stands below the first box that it comes from, if there is room, or else beside."""
    comes_from: dict[Item, list[Item]] = {}
    for link in grid.links:
        comes_from.setdefault(link.end, []).append(link.begin)
    taken: dict[Item, int] = {}
    for row in range(max(rows.values(), default=-1) + 1):
        used: set[int] = set()
        members = [item for item, at in rows.items() if at == row]
        for item in sorted(members, key=lambda one: _turn(one, comes_from.get(one, []))):
            above = sorted(comes_from.get(item, []), key=is_lane)
            wanted = taken[above[0]] if above else 0
            column = next(at for at in _from(wanted) if at not in used)
            used.add(column)
            taken[item] = column
    least = min(taken.values(), default=0)
    grid.places = {item: (rows[item], column - least) for item, column in taken.items()}


def _turn(item: Item, above: list[Item]) -> int:
    """Lanes that go on first, then boxes below others, then new lanes, then what nothing is above."""
    if is_lane(item):
        return 0 if is_lane(above[0]) else 2
    return 1 if above else 3


def _from(column: int) -> Iterator[int]:
    """A column and those beside it, the nearest first, to the right before to the left."""
    yield column
    distance = 1
    while True:
        yield column + distance
        yield column - distance
        distance += 1
