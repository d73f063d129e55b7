"""What a module of atoll is: its entry, its marks, its loops and tasks, and questions that many passes ask of it."""
