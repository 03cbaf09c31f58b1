"""Networks for images: their files, their weights, and how sound takes them over."""
