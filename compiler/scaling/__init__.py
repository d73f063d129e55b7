"""How a program scales: its step on more and more copies of its islands, and what a year of failures leaves of it."""
