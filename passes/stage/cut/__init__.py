"""Where to cut the forward part of a model, and who gets what is left."""
