"""Decisions by measurement: which rewrite of a graph is fastest on this processor."""
