"""Procedural faces: drawn pictures whose landmarks and emotions are known exactly."""
