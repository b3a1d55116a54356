"""Reads all other kinds of files, and chooses the reader of a source (readers.py); errors of readers as messages."""
