"""`netc lsp`: the language server, for editors."""


def lsp() -> None:
    """Speak the Language Server Protocol over standard input and output: faults as one types, what names are, completion, renaming, formatting.

    An editor starts it; editors/vscode is such an extension. Example: netc lsp
    """
    from netc.commands.signals import end_at_once
    from netc.editor.server import serve
    from netc.runtime.plugins import load_installed

    load_installed()
    end_at_once()
    serve()
