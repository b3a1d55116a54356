"""Safe reading and writing: files that a user names, complete files under their final name, and netc's cache folder."""
