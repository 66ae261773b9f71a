"""The gateway: bodies in, answers out, each in its caller's format. Scores nothing itself."""
