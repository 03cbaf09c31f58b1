"""Samples in records, read by place: a patch costs its own bytes, not those of its clip."""
