"""The compiler: from a job to a program. `pipeline/pipeline.py` has the order of the passes."""
