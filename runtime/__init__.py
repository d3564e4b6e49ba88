"""Run any artifact: NumPy in, NumPy out; torch is not needed."""
