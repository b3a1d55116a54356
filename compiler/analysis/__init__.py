"""Analyses that read graphs and change nothing: equations, differences, outlines, receptive fields, cost, diagnosis."""
