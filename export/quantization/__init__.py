"""INT8 after training: calibration, rounding, Q/DQ nodes."""
