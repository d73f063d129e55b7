"""From what jax exports to phase `stablehlo`: one function, no calls, nothing dead."""
