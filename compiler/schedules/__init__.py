"""Schedules: the order of tasks on each island, as data; how it is made, checked, simulated and drawn.

All of it is pure: no jax, no MLIR, no clock.
"""
