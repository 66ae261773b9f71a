"""``slimrank bench``: how fast the engine and a gateway are, and what bounds they keep. Nothing imports this room."""
