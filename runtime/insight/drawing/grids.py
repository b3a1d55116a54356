"""The positions of a model's boxes: a grid for each box that holds others, and the links between its positions.

Rows are layers by the longest path from above (Sugiyama, Tagawa and Toda 1981). A link that passes rows has a lane in
each of them, so that it crosses no box; what goes on stays in its column, so that a chain is a straight line. A link
between boxes of different depth passes a port of each box that it enters or leaves.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from netc.compiler.analysis.outline import Box, Outline

TOP = 0  # the grid of the outermost boxes; others have the key of their box
Item = str  # a box (its key), a port (`i` enters, `o` leaves) or a lane (`l`)


def box_item(key: int) -> Item:
    """The item of a box."""
    return str(key)


def is_lane(item: Item) -> bool:
    """Whether an item is a lane."""
    return item[0] == "l"


def port_in(grid: int, source: int) -> Item:
    """The port of a grid's box through which the links from the box `source` enter."""
    return f"i{grid}.{source}"


def port_out(grid: int, source: int) -> Item:
    """The port of a grid's box through which the links from the box `source` leave."""
    return f"o{grid}.{source}"


class Link(Struct, frozen=True):
    """A piece of the path from the box `source`: from one item to another one in a row below."""

    begin: Item
    end: Item
    source: int


class Grid(Struct):
    """`positions` is the row and the column of each item; `links` go down from row to row."""

    positions: dict[Item, tuple[int, int]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)


def grids_of(outline: Outline) -> dict[int, Grid]:
    """The grid of the outermost boxes (TOP), and of each box that holds others, by its key."""
    parents = dict(_parents(outline.boxes, TOP))
    items: dict[int, list[Item]] = {TOP: [box_item(box.key) for box in outline.boxes]}
    items |= {box.key: [box_item(inner.key) for inner in box.inside] for box in outline.all() if box.inside}
    links: dict[int, dict[Link, None]] = {grid: {} for grid in items}
    for begin, end in outline.edges:
        for grid, link in _pieces(begin, end, parents):
            links[grid][link] = None
    return {grid: _arranged(items[grid], list(pieces)) for grid, pieces in links.items()}


def _parents(boxes: Iterable[Box], grid: int) -> Iterator[tuple[int, int]]:
    """Each box with the grid that it is in."""
    for box in boxes:
        yield box.key, grid
        yield from _parents(box.inside, box.key)


def _path(key: int, parents: dict[int, int]) -> list[int]:
    """The boxes around a box, the outermost first, then the box itself."""
    path = [key]
    while path[0] != TOP:
        path.insert(0, parents[path[0]])
    return path


def _pieces(begin: int, end: int, parents: dict[int, int]) -> Iterator[tuple[int, Link]]:
    """The links of an edge, each with its grid."""
    out, into = _path(begin, parents), _path(end, parents)
    shared = next(i for i in range(len(out) + 1) if out[i : i + 1] != into[i : i + 1]) - 1
    for at in range(len(out) - 2, shared, -1):
        yield out[at], Link(box_item(out[at + 1]), port_out(out[at], begin), begin)
    yield out[shared], Link(box_item(out[shared + 1]), box_item(into[shared + 1]), begin)
    for at in range(shared + 1, len(into) - 1):
        yield into[at], Link(port_in(into[at], begin), box_item(into[at + 1]), begin)


# ------------------------------------------------------------------ one grid


def _arranged(boxes: list[Item], links: list[Link]) -> Grid:
    """A grid of these boxes, and of the ports and lanes of their links."""
    rows = _rows(boxes, links)
    grid = Grid()
    for begin, source in dict.fromkeys((link.begin, link.source) for link in links):
        same_start = [link for link in links if (link.begin, link.source) == (begin, source)]
        grid.links += _with_lanes(same_start, rows)
    lanes = {link.end: int(link.end.rpartition(".")[2]) for link in grid.links if is_lane(link.end)}
    _set_positions(grid, {**rows, **lanes})
    return grid


def _rows(boxes: list[Item], links: list[Link]) -> dict[Item, int]:
    """The row of each item: below everything that it comes from, as high as that allows.

    A box that comes from nothing stands just above the first box that needs it.
    """
    before: dict[Item, list[Item]] = {item: [] for item in boxes}
    after: dict[Item, list[Item]] = {}
    for link in links:
        before.setdefault(link.begin, [])
        before.setdefault(link.end, []).append(link.begin)
        after.setdefault(link.begin, []).append(link.end)
    first = int(any(item[0] == "i" for item in before))
    rows: dict[Item, int] = {}
    for item in before:
        _set_row(item, before, first, rows)
    for item in boxes:
        if not before[item] and after.get(item):
            rows[item] = max(first, min(rows[user] for user in after[item]) - 1)
    last = max(rows.values(), default=0) + 1
    return {item: last if item[0] == "o" else row for item, row in rows.items()}


def _set_row(item: Item, before: dict[Item, list[Item]], first: int, rows: dict[Item, int]) -> None:
    """Sets the rows of an item and of everything that it comes from."""
    pending = [item]
    while pending:
        missing = [source for source in before[pending[-1]] if source not in rows]
        if missing:
            pending += missing
            continue
        now = pending.pop()
        rows[now] = 0 if now[0] == "i" else max([first - 1, *(rows[source] for source in before[now])]) + 1


def _with_lanes(links: list[Link], rows: dict[Item, int]) -> Iterator[Link]:
    """Links from the same item, which share a lane in each row that they pass."""
    begin, source = links[0].begin, links[0].source
    last = max(rows[link.end] for link in links)
    passed = {rows[begin]: begin}
    for row in range(rows[begin] + 1, last):
        passed[row] = f"l{begin}.{source}.{row}"
        yield Link(passed[row - 1], passed[row], source)
    for link in links:
        yield Link(passed[rows[link.end] - 1], link.end, source)


def _set_positions(grid: Grid, rows: dict[Item, int]) -> None:
    """Chooses the columns, row by row from above.

    A lane goes on in its column. A box stands below the first box that it comes from, or beside that if there is no
    room.
    """
    sources: dict[Item, list[Item]] = {}
    for link in grid.links:
        sources.setdefault(link.end, []).append(link.begin)
    columns: dict[Item, int] = {}
    for row in range(max(rows.values(), default=-1) + 1):
        used: set[int] = set()
        members = [item for item, at in rows.items() if at == row]
        for item in sorted(members, key=lambda item: _rank(item, sources.get(item, []))):
            above = sorted(sources.get(item, []), key=is_lane)
            preferred = columns[above[0]] if above else 0
            column = next(column for column in _outwards(preferred) if column not in used)
            used.add(column)
            columns[item] = column
    least = min(columns.values(), default=0)
    grid.positions = {item: (rows[item], column - least) for item, column in columns.items()}


def _rank(item: Item, above: list[Item]) -> int:
    """Lanes that go on come first, then boxes below others, then new lanes, then what nothing is above."""
    if is_lane(item):
        return 0 if is_lane(above[0]) else 2
    return 1 if above else 3


def _outwards(column: int) -> Iterator[int]:
    """A column and those beside it, the nearest first, the right one before the left one."""
    yield column
    distance = 1
    while True:
        yield column + distance
        yield column - distance
        distance += 1
