"""``emonet eval``."""
