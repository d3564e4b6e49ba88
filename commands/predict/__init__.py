"""``emonet predict``."""
