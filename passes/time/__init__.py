"""From phase `stablehlo` to phase `timed`: the batch is folded into time."""
