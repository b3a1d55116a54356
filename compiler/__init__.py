"""Floor 2: syntax tree -> graph -> kernels. Knows nothing of data files, epochs or the terminal."""
