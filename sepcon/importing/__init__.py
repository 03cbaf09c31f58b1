"""Recordings of any origin become records of int16 and a manifest of every clip."""
