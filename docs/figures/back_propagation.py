"""The figures of the chapter on back-propagation."""

from .style import EXAMPLES, model_picture, picture


@picture
def backprop() -> bytes:
    return model_picture(EXAMPLES / "iris.net")
