"""Networks: the separator, the encoders, their heads and the shallow classifier."""
