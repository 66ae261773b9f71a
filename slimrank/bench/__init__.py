"""How fast: the engine beside its peers, a gateway under load, what the queue costs. Nothing imports this room."""
