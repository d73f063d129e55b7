"""How `fold-batch` proves how a program treats its batch, and rewrites it to one microbatch."""
