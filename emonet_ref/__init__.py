"""What is true of EmoNet: constants, the network, its weights, and stand-ins for them."""
