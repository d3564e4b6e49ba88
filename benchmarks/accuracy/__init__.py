"""The paper's protocol, its results on disk, on screen and as a page."""
