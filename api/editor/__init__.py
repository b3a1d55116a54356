"""Answers what an editor asks about a `.net` text: messages, what a name means, where it is defined, completions.

`names.py` binds names, `analysis.py` analyses a text, `meaning.py` describes a name, `completion.py` completes names,
`fixes.py` offers fixes, and `uses.py` finds definitions and uses. `netc lsp` speaks the Language Server Protocol:
`protocol.py` has its types, and `server.py` answers its requests.
"""
