"""A page that shows what was made of a program: its data, from what the compiler knows, and the file that holds it."""
