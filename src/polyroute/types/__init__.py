"""Values that every part speaks in: no I/O, no clock, nothing of ours imported."""
