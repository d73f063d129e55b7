"""Proves how a program treats its batch, and rewrites it to one microbatch. `docs/microbatches.md` tells how."""
