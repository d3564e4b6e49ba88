"""From pictures and frames to predictions: preprocess, run, postprocess, smooth."""
