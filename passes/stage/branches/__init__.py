"""What the branches of a `case` are made of."""
