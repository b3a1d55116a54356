"""Several runs of one model that belong together: the folds of a cross-validation."""
