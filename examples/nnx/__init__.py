"""A classifier in Flax NNX."""
