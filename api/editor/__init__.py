"""What an editor asks of a `.net` text: faults, what a name is, where it is from, what may come next. `netc lsp` speaks of it in the Language Server Protocol.

`names.py` knows which name is which, `analysis.py` all that is known of one text, `completion.py` what may be written at a place, `server.py` the protocol.
"""
