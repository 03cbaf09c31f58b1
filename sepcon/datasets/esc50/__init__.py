"""TFDS builder of ESC-50."""
