"""The plan: how a program is cut over islands, and what follows from that before the program is looked at."""
