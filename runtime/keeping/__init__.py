"""Keeps the processes of islands for one controller after another: what `atoll up` starts."""
