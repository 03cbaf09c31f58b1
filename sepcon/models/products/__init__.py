"""What `sepcon export` writes: SavedModels that take waveform."""
