"""The folder of a run, files that appear whole, progress, and commands that run side by side."""
