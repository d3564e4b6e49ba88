"""Latency, throughput, memory, peers, and what bounds them."""
