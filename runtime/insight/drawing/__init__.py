"""A model as a picture: where its boxes stand, as SVG or PNG, as a page that folds. Takes what compiler/folds.py made."""
