"""Compare the two sides: what changed, whether it is real, why, and what the rules say of it."""
