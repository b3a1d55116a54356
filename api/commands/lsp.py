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
            help="Also open data below this folder, to count the classes of `class(auto)`. May be repeated.",
        ),
    ] = None,
) -> None:
    """Serve an editor over standard input and output by the Language Server Protocol: errors while typing, hover texts,
    completion, renaming, formatting. Opens no data outside of a text's own folder and the workspace.

    An editor starts it; editors/vscode is an extension that does. Example: netc lsp
    """
    from netc.commands.signals import end_at_once
    from netc.editor.server import serve
    from netc.runtime.plugins import load_installed

    load_installed()
    end_at_once()
    serve(allowed or ())
