"""`netc lsp`: the language server, for editors."""

from pathlib import Path
from typing import Annotated

import typer


def lsp(
    allowed: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow",
            metavar="FOLDER",
            help="Data below this folder may be opened too, to count the classes of `class(auto)`; may be given again.",
        ),
    ] = None,
) -> None:
    """Speak the Language Server Protocol over standard input and output: faults as one types, what names are, completion, renaming, formatting. Opens no data outside of a text's own folder and the workspace.

    An editor starts it; editors/vscode is such an extension. Example: netc lsp
    """
    from netc.commands.signals import end_at_once
    from netc.editor.server import serve
    from netc.runtime.plugins import load_installed

    load_installed()
    end_at_once()
    serve(allowed or ())
