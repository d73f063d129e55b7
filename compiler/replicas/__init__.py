"""What replicas have to exchange, in which form, and a check that nothing is missing."""
