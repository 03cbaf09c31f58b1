"""Trained models at work in Python: what `sepcon.load` gives."""
