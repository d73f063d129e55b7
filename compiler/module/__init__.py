"""What a module of atoll is: its entry, marks, loops and tasks, and answers to questions that many passes ask of it."""
