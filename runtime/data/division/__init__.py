"""Divides the rows of a table into training, validation and test parts, or into folds."""
