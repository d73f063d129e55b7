"""What each layer of a model costs: which layers there are, what belongs to each, and its work."""
