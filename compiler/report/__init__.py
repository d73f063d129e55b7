"""What was decided and what it costs, for people."""
