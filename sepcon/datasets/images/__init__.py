"""Images that can be imported: folders, CIFAR-10, data sets of TFDS."""
