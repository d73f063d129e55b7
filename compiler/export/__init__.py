"""From a function and its example arguments to StableHLO, and from its pytrees to flat values and back."""
