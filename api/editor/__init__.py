"""Answers what an editor asks about a `.net` text: messages, what a name means, where it is defined, completions.

`netc lsp` speaks the Language Server Protocol. `names.py` binds names, `analysis.py` analyses a text, `completion.py`
offers completions, `protocol.py` has the protocol's types, and `server.py` answers its requests.
"""
