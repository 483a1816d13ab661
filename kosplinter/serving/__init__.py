"""The HTTP server: requests checked, batched, answered."""
