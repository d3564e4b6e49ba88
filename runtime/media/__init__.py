"""Pictures, videos and cameras, read and written as frames."""
