"""What each operation of @main is: its role, its sweep, its partners, and whether it is cheap."""
