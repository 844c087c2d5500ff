"""Decorated kernels: what `tunedb.autotune` makes of a jit function, its calls, and their way through the tuner."""
