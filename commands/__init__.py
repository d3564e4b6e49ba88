"""The commands of ``emonet``: each reads its options, composes the rooms, and prints."""
