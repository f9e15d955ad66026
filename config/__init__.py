"""Settings of the environments."""
