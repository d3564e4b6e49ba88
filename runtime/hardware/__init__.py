"""What this machine has: its GPU and its processor."""
