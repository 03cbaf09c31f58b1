"""What a machine can run: looked at before a training is begun on it."""
