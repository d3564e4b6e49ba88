"""Measure: agreement with the reference, accuracy, speed."""
