"""The figures of the chapter on the LSTM."""

import tempfile
from pathlib import Path

from .style import model_picture, picture


@picture
def gates() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.net"
        path.write_text(
            "model {\n  input x: float[time, 3]\n  h, c = lstm(x, 4)\n  output y = last(h)\n}\n", encoding="utf-8"
        )
        return model_picture(path, 3)
