"""``emonet eval``: its options, and what it runs."""
