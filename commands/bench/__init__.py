"""``emonet bench``."""
