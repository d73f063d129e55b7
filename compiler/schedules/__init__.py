"""Schedules: the order of tasks on each island, as data; its check, its simulation and its picture.

All of it is pure: no jax, no MLIR, no clock.
"""
