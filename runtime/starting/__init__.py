"""Writes a first `.net` file for data: what columns contain, the text of the file, and a trial of it."""
