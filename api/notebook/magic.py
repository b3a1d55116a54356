"""`%%net` of IPython: a cell with the text of a model, which becomes a variable.

%load_ext netc

%%net model width=8
let width = 16
model { ... }
"""

import shlex
from itertools import starmap
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.display import display

from netc.commands.options import constant
from netc.compiler.model import Model
from netc.dsl.parser import parse
from netc.dsl.quoting import html_text
from netc.dsl.source import Source
from netc.notebook.html import model_html
from netc.runtime.insight.drawing.colours import COLOURS
from netc.runtime.insight.highlighted import highlighted
from netc.runtime.loading import load_model

_COLOURS = {"k": "blue", "c": "grey", "n": "orange", "t": "green", "f": "purple", "o": "red"}  # of `highlighted`


@magics_class
class NetMagics(Magics):  # type: ignore[misc]  # IPython has no types here
    """The magic of this extension."""

    @cell_magic  # type: ignore[untyped-decorator]
    def net(self, line: str, cell: str) -> None:
        """%%net [NAME] [CONSTANT=VALUE ...]: checks the text of the cell, and assigns its model to NAME (`model`).

        Shows the picture of the model and its layers, warnings, and the text in colours with the numbers of its lines.
        A mistake raises Fault, of which IPython shows only the message.
        """
        name, constants = _arguments(line)
        model = load_model(parse(Source(f"{name}.net", cell)), constants, "%%net {}=...")
        self.shell.push({name: model})
        for warning in model.warnings:
            print(warning.render())
        display({"text/html": _cell_html(model, cell), "text/plain": repr(model)}, raw=True)


def define(ipython: Any) -> None:
    """Defines `%%net` in a shell."""
    ipython.register_magics(NetMagics)


def _arguments(line: str) -> tuple[str, dict[str, Any]]:
    """The name of the variable and the constants. Raises UsageError."""
    words = shlex.split(line)
    names = [word for word in words if "=" not in word] or ["model"]
    if len(names) > 1 or not names[0].isidentifier():
        raise UsageError(f"%%net takes a name and constants: %%net model width=8, not `{line}`")
    pairs = (word.partition("=") for word in words if "=" in word)
    return names[0], {key.strip(): constant(text.strip()) for key, _, text in pairs}


def _cell_html(model: Model, text: str) -> str:
    """The model, and below it the text in colours, folded."""
    summary = f"<summary style='font-size:13px'>{html_text(model.source.name)}</summary>"
    return f"{model_html(model)}<details>{summary}{coloured(text)}</details>"


def coloured(text: str) -> str:
    """A `.net` text as HTML in colours that are seen in light and dark, with the numbers of its lines."""
    lines = enumerate(highlighted(text.strip("\n")), 1)
    body = "\n".join(_line_number(number) + "".join(starmap(_span, pieces)) for number, pieces in lines)
    return f"<pre style='line-height:1.35;background:none;margin:4px 0'>{body}</pre>"


def _span(kind: str, text: str) -> str:
    return f"<span style='color:{COLOURS[_COLOURS[kind]].either}'>{html_text(text)}</span>" if kind else html_text(text)


def _line_number(number: int) -> str:
    return f"<span style='opacity:0.5;user-select:none'>{number:3}  </span>"
