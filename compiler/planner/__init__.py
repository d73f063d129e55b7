"""Finds the plan whose step should take the least time: which cuts, islands, microbatches, schedule and replicas."""
