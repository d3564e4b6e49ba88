"""Files by the names of paths and addresses: found, listed, fetched."""
