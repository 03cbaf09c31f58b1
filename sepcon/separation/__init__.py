"""A trained separator at work: on recordings, on data sets, and measured."""
