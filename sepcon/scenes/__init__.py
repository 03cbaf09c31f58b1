"""Sound scenes mixed from recordings or from synthetic events."""
