"""Islands, the links between them, and the devices that they have on this machine."""
