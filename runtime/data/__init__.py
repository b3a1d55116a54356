"""Reads the data that a `data` block describes: readers, splits, and steps that are fitted on the training split.

- block/: checks of a `data` block, which becomes records (block/spec.py, block/declarations.py)
- readers/, csv/, pictures/: a file becomes a table; readers/readers.py chooses the reader
- tables/: tables and their cells, in memory, on disk, or shared by processes
- division/: the parts of the rows: train, valid, test, calibration; or folds
- steps/: the steps of a field's pipe; pipeline.py takes the cells of a field through them, a chunk of rows at a time
- warnings/: data that is valid, but does not suit the model

dataset.py brings all of it together: arrays by part and field, in the forms of stored.py. new_data.py reads data for a
trained model.

Knows nothing of graphs except the types of inputs and targets.
"""
