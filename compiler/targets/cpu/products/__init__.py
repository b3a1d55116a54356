"""Product kernels: register tiles and the loops around them, in f32, f64, bf16 and on AMX's tiles."""
