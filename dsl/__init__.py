"""Floor 1: text -> syntax tree, diagnostics and printer. Knows nothing of graphs, data or training."""
