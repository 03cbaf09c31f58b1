"""Log-mel maps of several windows side by side, as images have colours."""
