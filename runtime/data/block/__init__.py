"""Checks a `data` block: its source, fields, series and split become records (declarations.py)."""
