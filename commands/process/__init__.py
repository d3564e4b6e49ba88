"""What a command is to the system: signals, and its standard streams."""
