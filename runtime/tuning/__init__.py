"""The fastest way to run EmoNet on this machine: what was measured, and which way is chosen."""
