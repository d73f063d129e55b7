"""A language model in Flax linen."""
