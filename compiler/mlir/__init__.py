"""jaxlib's MLIR, with nothing in it that is atoll's own. Besides the errors, the runtime needs only this folder."""
