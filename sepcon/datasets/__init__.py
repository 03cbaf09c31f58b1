"""The data sets that are known by name, in their official layouts."""
