"""``emonet bench``: its options, what it runs, and the tables it prints."""
