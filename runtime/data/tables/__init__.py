"""Tables: their columns and cells, in memory, on disk, or shared by processes."""
