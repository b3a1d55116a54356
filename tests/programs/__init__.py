"""Generated programs: well-typed `.net` files by the thousand, and what must be true of each (`python -m tests.programs`)."""
