"""Islands, the links between them, and their devices on this machine."""
