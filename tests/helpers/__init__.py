"""What several tests need: fakes, golden values, clips, tiny models, local servers."""
