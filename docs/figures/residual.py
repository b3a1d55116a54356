"""The figures of the chapter on residual networks."""

from .style import EXAMPLES, model_picture, picture


@picture
def residual() -> bytes:
    return model_picture(EXAMPLES / "resnet.net")
