"""Loops over stacked layers: which `while` is one, what is stacked with it, and how both are split by layers."""
