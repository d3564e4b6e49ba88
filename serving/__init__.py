"""EmoNet behind an address: a server on one machine, a model repository for a fleet."""
