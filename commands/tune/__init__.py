"""``emonet tune``: its options, what it measures, and the record it keeps."""
