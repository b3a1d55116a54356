"""Runs: what training keeps in a folder, and what is done with it."""
