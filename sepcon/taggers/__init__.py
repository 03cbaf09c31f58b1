"""Taggers: what says of a clip, from its sound or its pictures, which classes it may hold."""
