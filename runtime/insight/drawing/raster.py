"""The picture of a model as pixels: the shapes of the SVG on white paper.

Texts are in DejaVu Sans or Verdana if the system has one of them, otherwise in the font that Pillow brings along.
"""

import io
from functools import cache

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont
from PIL.ImageFont import ImageFont as BitmapFont

from netc.dsl.quoting import escaped
from netc.runtime.insight.drawing.colours import COLOURS
from netc.runtime.insight.drawing.layout import LINK, TINT, Layout
from netc.runtime.insight.drawing.shapes import Curve, Lane, Point, Rectangle, Words, links, rectangles

_SCALE = 2.0  # pixels of a point
_MOST_SIDE, _MOST_PIXELS = 30_000, 50_000_000  # of a picture; a larger one has fewer pixels for a point
_FINE = 2  # shapes are drawn twice as large, and then reduced, so that their edges are smooth
_STEPS = 24  # lines that a curve consists of
_FONTS = (("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), ("Verdana.ttf", "Verdana Bold.ttf"))  # regular and bold
_ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}
_INK, _PAPER = COLOURS["ink"].light, COLOURS["paper"].light
_Colour = tuple[int, ...]


def png_picture(layout: Layout) -> bytes:
    """A PNG file with the boxes and links of a model."""
    width, height = layout.outermost.width, layout.outermost.height
    scale = min(_SCALE, _MOST_SIDE / max(width, height), (_MOST_PIXELS / (width * height)) ** 0.5)
    size = max(round(scale * width), 1), max(round(scale * height), 1)
    image = Image.new("RGB", (_FINE * size[0], _FINE * size[1]), _PAPER)
    draw = ImageDraw.Draw(image)
    shapes = [*rectangles(layout)]
    for rectangle in shapes:
        _draw_box(image, draw, rectangle, _FINE * scale)
    for link in links(layout):
        _draw_link(draw, link, _FINE * scale)
    image = image.reduce(_FINE)
    draw = ImageDraw.Draw(image)
    for rectangle in shapes:
        for words in rectangle.words:
            _write(draw, words, scale)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _draw_box(image: Image.Image, draw: ImageDraw.ImageDraw, shape: Rectangle, scale: float) -> None:
    """Draws a box on what is there: the paper, or the box around it."""
    (x, y), colour = shape.corner, _rgb(COLOURS[shape.colour].either)
    ends = [scale * x, scale * y, scale * (x + shape.width), scale * (y + shape.height)]
    below = image.getpixel((int(ends[0] + ends[2]) // 2, int(ends[1] + ends[3]) // 2))
    assert isinstance(below, tuple)
    edge = max(round(scale * shape.edge), 1)
    draw.rounded_rectangle(ends, 4 * scale, fill=_mixed(colour, below, TINT), outline=colour, width=edge)


def _draw_link(draw: ImageDraw.ImageDraw, link: Curve | Lane, scale: float) -> None:
    colour, width = _rgb(COLOURS[LINK].either), max(round(0.9 * scale), 1)
    if isinstance(link, Lane):
        points = [link.top, (link.top[0], link.bottom)]
    else:
        points = [link.begin, *(_on_curve(link, step / _STEPS) for step in range(_STEPS + 1))]
    draw.line([(scale * x, scale * y) for x, y in points], colour, width, joint="curve")
    if isinstance(link, Curve) and link.has_head:
        x, y = link.end
        head = [(x, y), (x - 2.6, y - 5), (x + 2.6, y - 5)]
        draw.polygon([(scale * x, scale * y) for x, y in head], fill=colour)


def _on_curve(curve: Curve, t: float) -> Point:
    """A point of the Bezier curve; `t` is between 0 and 1."""
    points, weights = (
        (curve.turn, *curve.controls, curve.end),
        ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3),
    )
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, points, strict=True)) for axis in (0, 1))
    return x, y


def _write(draw: ImageDraw.ImageDraw, words: Words, scale: float) -> None:
    ink = _rgb(_INK) if words.is_title else _mixed(_rgb(_INK), _rgb(_PAPER), 0.75)
    font = _font(words.is_title, max(scale * words.size, 1.0))
    draw.text((scale * words.x, scale * words.y), escaped(words.text), ink, font, _ANCHORS[words.anchor])


@cache
def _font(is_title: bool, size: float) -> FreeTypeFont | BitmapFont:
    """The font for titles or for other texts in pixels."""
    for names in _FONTS:
        try:
            return ImageFont.truetype(names[is_title], size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _rgb(colour: str) -> _Colour:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _mixed(colour: _Colour, below: tuple[float, ...], share: float) -> _Colour:
    return tuple(round(share * a + (1 - share) * b) for a, b in zip(colour, below, strict=True))
