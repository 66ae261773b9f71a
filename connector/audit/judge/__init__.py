"""Have what changed graded, by people, clicks or models, and bring the grades together."""
