"""Other runtimes, a file each: how one is given the reference's weights, and run on an image."""
