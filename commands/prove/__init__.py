"""``emonet prove``: what holds on this machine's GPU, stage by stage."""
