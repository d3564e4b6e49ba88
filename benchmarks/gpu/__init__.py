"""What a GPU does with EmoNet, and what bounds it."""
