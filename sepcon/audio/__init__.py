"""Audio files and waveforms: what a file holds, its samples, log-mel features."""
