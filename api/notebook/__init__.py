"""The displays of notebooks and interactive sessions: models, runs and predictions as HTML, progress, and `%%net`.

IPython is imported only by the files that need it: `import netc` works without it.
"""
