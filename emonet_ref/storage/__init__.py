"""Files: written atomically, hashed, cached, downloaded."""
