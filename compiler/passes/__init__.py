"""One file a pass; each is one function from graph to graph. pipeline.py says in which order they run."""
