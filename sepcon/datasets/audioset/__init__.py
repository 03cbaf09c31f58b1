"""AudioSet in the forms in which people have it."""
