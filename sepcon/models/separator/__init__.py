"""The separation network and its parts."""
