"""Stage 3, serve: the engine behind an HTTP gateway, and behind a queue where one process is not enough.

This folder has what both sides need: the ``Backend`` that a gateway asks, admission, the circuit breaker, metrics, traces. ``gateway`` has
what speaks HTTP, ``queue`` what speaks to Redis; a gateway may ask the queue, and never the other way round.
"""
