"""Pictures of models: boxes are nested like the blocks of the file, links lead down and cross no box."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from support import ROOT, command

import netc
from netc.compiler.analysis.outline import Box, Outline, outline_of
from netc.runtime.insight.drawing.figure import picture
from netc.runtime.insight.drawing.grids import TOP, box_item, grids_of, port_in

TEXT = """op swish(x) = x * sigmoid(x)

block unit(x: float[n], size) {
  h = x -> dense(size)
  return swish(h) + x[0]
}

model {
  input x: float[4]
  input s: float[time, 3]
  target y: float[2]
  param W: float[4, 4]
  state seen: float[4] = zeros
  update seen = mean(x, over = batch)
  a = (x - seen) @ W -> unit(6)
  drawn = a + normal_like(a) if training else a
  r = s -> rnn(6) -> last
  z = concat(drawn, r) -> dense(2)
  output z = z
  loss weighted(mse(z, y), 1 + x[0] ** 2)
  watch a = a
}
"""


def drawn(outline: Outline) -> str:
    """One line for each box, with its inner boxes below it and the boxes that its links lead to."""
    names = {box.key: box.title for box in outline.all()}
    ways: dict[int, list[str]] = {}
    for begin, end in outline.edges:
        ways.setdefault(begin, []).append(names[end])

    def lines(box: Box, deep: int) -> list[str]:
        name = f"{box.name} = " if box.name else ""
        reads = f" reads {' '.join(box.reads)}" if box.reads else ""
        work = "" if box.flops == 0 else " FLOPs by length" if box.flops is None else f" {box.flops} FLOPs"
        to = f" -> {', '.join(ways[box.key])}" if box.key in ways else ""
        text = f"{'  ' * deep}{box.kind} {name}{box.title}: {box.type}{reads}{work} line {box.span.line}{to}"
        return [text, *(line for inner in box.inside for line in lines(inner, deep + 1))]

    return "\n".join(line for box in outline.boxes for line in lines(box, 0)) + "\n"


def test_boxes_follow_the_blocks_of_the_file(golden) -> None:
    golden(Path(__file__).parent / "outline.txt", drawn(outline_of(netc.parse(TEXT))))


@pytest.mark.parametrize("name", ["lenet", "resnet", "variational", "names", "cmudict", "moby_dick", "oscillator"])
def test_links_lead_from_box_to_box(name: str) -> None:
    outline = outline_of(netc.load(ROOT / "examples" / f"{name}.net"))
    grids = grids_of(outline)
    around = {TOP: outline.boxes, **{box.key: box.inside for box in outline.all() if box.inside}}
    assert grids.keys() == around.keys()
    ways: dict[tuple[str, int], set[str]] = {}
    for key, grid in grids.items():
        assert len(set(grid.positions.values())) == len(grid.positions), "two things in one place"
        assert {box_item(box.key) for box in around[key]} <= grid.positions.keys()
        for link in grid.links:
            (row, _), (below, _) = grid.positions[link.begin], grid.positions[link.end]
            assert below == row + 1 or link.end[0] == "o" or link.begin[0] == "i", "a link passes a row without a lane"
            assert below > row
            ways.setdefault((link.begin, link.source), set()).add(link.end)
    for begin, end in outline.edges:
        seen, waiting = set(), [box_item(begin)]
        while waiting:
            item = waiting.pop()
            seen.add(item)
            onward = set(ways.get((item, begin), ()))
            if item.isdigit() and item != box_item(begin) and int(item) in around:
                onward.add(port_in(int(item), begin))
            if item[0] == "o":
                grid = int(item[1:].split(".")[0])
                onward |= ways.get((box_item(grid), begin), set())
            waiting += [link for link in onward if link not in seen]
        assert box_item(end) in seen, (begin, end)


def test_pictures_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    result = command("show", "m.net", cwd=tmp_path)
    assert result.stdout == "43 values, 12 blocks -> m.svg\n", result
    svg = ElementTree.parse(tmp_path / "m.svg").getroot()
    texts = {element.text.strip() for element in svg.iter() if element.tag.endswith("text") and element.text}
    assert {"input x", "a = unit", "float[6]", "loss weighted", "30 parameters"} <= texts
    assert "swish" not in texts, "a block is not folded"
    assert command("show", "m.net", "--unfold", 3, "-o", "open.svg", cwd=tmp_path).returncode == 0
    assert "swish" in (tmp_path / "open.svg").read_text(encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    assert (tmp_path / "m.svg").read_bytes() == picture(outline_of(model), model, "svg"), "not the same twice"
    assert command("show", "m.net", "-o", "m.png", cwd=tmp_path).returncode == 0
    with Image.open(tmp_path / "m.png") as image:
        assert min(image.size) > 300
    assert command("show", "m.net", "-o", "m.html", cwd=tmp_path).returncode == 0
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    facts = json.loads(page.partition('id="facts">')[2].partition("</script>")[0])
    (unit,) = (detail for detail in facts["details"].values() if detail["title"] == "a = unit")
    assert unit == {
        "title": "a = unit",
        "kind": "block",
        "type": "float[6]",
        "location": "m.net:15",
        "line": "a = (x - seen) @ W -> unit(6)",
        "reads": [["a.unit.h.dense.W", "float[4, 6]", "24"], ["a.unit.h.dense.b", "float[6]", "6"]],
        "work": "204 FLOPs a sample",
    }
    items = set(re.findall(r' id="?([iol]?[\d.iol]+)"?', page))
    assert all({begin, end} <= items for links in facts["links"].values() for begin, end, _ in links)
    wrong = command("show", "m.net", "-o", "m.pdf", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "none of .svg, .png, .html" in wrong.stderr
