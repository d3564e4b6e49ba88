"""Data sets with expression, valence, arousal and landmarks."""
