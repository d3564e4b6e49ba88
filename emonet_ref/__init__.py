"""What is true of EmoNet: its contract, its network, its weights, and faces to try it on."""
