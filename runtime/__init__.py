"""Runs a compiled program: `Program` is the plain data, a `Controller` asks for its steps, and hosts carry them out."""
