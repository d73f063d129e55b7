"""The command line: one program with subcommands, a module each."""
