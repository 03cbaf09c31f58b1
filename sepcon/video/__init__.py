"""Videos: their sound and frames at given times, and videos made of both."""
