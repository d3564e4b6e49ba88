"""Millions of pictures and clips over many machines with Ray Data: rows that are never lost."""
