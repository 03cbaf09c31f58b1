"""Recordings and images of any origin become records, and a manifest of every one of them."""
