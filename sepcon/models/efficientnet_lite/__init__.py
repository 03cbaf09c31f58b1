"""EfficientNet-Lite0: the network, and weights that were published for PyTorch."""
