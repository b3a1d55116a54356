"""The picture of a model as a file, SVG or PNG, with the outermost blocks unfolded."""

from netc.compiler.analysis.outline import Outline
from netc.compiler.model import Model
from netc.runtime.insight.drawing.colours import FILE_STYLE
from netc.runtime.insight.drawing.inline import inline_picture
from netc.runtime.insight.drawing.layout import Layout


def picture(outline: Outline, model: Model, kind: str, unfold: int = 0) -> bytes:
    """A model as an `svg` or `png` file, with its blocks unfolded `unfold` levels deep.

    An svg file has the colours of the reader's scheme, light or dark; a png file is white.
    """
    if kind == "png":
        from netc.runtime.insight.drawing.raster import png_picture

        return png_picture(Layout(outline, model, unfold))
    head, _, rest = inline_picture(outline, model, unfold, scale=1.0).partition(">")
    return f"{head}><style>{FILE_STYLE}</style>{rest}\n".encode()
