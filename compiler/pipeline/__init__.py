"""Passes in order: what a pass is, how its options and pipelines are written, and how they are run."""
