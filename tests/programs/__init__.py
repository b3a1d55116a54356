"""Generated programs: thousands of well-typed `.net` files, and checks that must hold for each."""
