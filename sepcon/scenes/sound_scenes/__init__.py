"""TFDS builder of sound scenes."""
