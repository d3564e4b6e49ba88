"""Identities of faces across the frames of a clip."""
