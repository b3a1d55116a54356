"""Pictures of a model as SVG, PNG or a page that folds, and of a training step as a flame graph."""
