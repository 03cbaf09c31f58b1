"""Which example stands where in a stream, and its random numbers: pure functions of counters."""
