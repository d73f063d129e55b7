"""A sampler and a trainer on the same islands."""
