"""What compiles: from a job to a program. `pipeline.py` has the order of the passes."""
