"""MLIR as jaxlib has it, before it means anything to atoll; with the errors, all that the runtime needs of us."""
