"""Face detectors, and boxes that are known already."""
