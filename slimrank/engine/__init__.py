"""One process, one model: from texts to scores, as many as the time allows.

Knows nothing of HTTP, of Celery or of who asks. ``reranker`` is the face for Python, ``model`` and ``scoring_loop`` the one for
services. It has the clients of Redis, since workers may share what they have scored.
"""
