"""What a command is to the system: exit codes, signals, standard streams."""
