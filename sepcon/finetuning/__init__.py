"""Classifiers of labelled clips: one fold, and the page of all."""
