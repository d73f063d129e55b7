"""What atoll's small languages share: grammars whose errors point at the text, and amounts with units."""
