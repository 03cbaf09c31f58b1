"""Recordings, sound scenes and the batches made of them."""
