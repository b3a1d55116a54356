"""A run as a file for those who do not have netc."""
