"""Updates of which every replica makes its own share."""
