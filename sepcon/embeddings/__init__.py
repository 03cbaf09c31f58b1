"""Frozen embeddings: how they are made, kept, and measured."""
