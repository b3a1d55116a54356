"""The displays of notebooks and interactive sessions: models, runs and predictions as HTML, progress, and `%%net`.

IPython is imported by the files that need it alone: `import netc` works without it.
"""
