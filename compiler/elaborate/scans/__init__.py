"""`scan`: its body becomes a graph of its own; a scan inside of a scan is written out, step by step."""
