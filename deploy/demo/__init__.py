"""The demo: the documentation of Python (``slimrank.evaluation.python_docs``), reranked here or in a stack of containers."""

from time import perf_counter

BEGAN = perf_counter()
"""The time at which this process began to load the demo, before imports that take a second."""
