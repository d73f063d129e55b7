"""A residual network with batch statistics."""
