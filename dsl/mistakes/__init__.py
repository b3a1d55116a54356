"""Syntax errors as messages that say what was most likely meant: syntax_error.py, and a file for each kind."""
