"""A model as a picture: where its boxes stand, as SVG or PNG, or as a page that folds, from its outline (compiler/outline.py)."""
