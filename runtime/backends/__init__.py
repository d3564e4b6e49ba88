"""What runs an artifact: one file a backend, one base class, one table."""
