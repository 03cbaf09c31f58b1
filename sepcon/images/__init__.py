"""Decoding of images, and the square form in which they are stored."""
