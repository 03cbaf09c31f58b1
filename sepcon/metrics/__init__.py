"""What is measured: pure functions on numpy arrays."""
