"""Twelve data sets as strangers have them, each from `netc new` to `netc predict`, beside scikit-learn.

The data is synthetic, with a fixed seed. Its files have the faults of real ones: regional number formats, several marks
for missing values, blank lines, comments, encodings, mixed kinds of pictures.
"""
