"""From a function and its example arguments to StableHLO, and between its pytrees and flat values."""
