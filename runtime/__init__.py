"""Runs a compiled program: `Program` is the plain data, `Controller` what executes it in this process."""
