"""The demo: a corpus that every machine with Python already has, and questions judged by hand."""

from time import perf_counter

BEGAN = perf_counter()
"""The time at which this process began to load the demo, before imports that take a second."""
