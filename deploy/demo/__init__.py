"""The demo: a corpus that every machine with Python already has, and questions judged by hand."""

from time import perf_counter

BEGAN = perf_counter()
"""When this process began to load the demo: a command's first step, before imports that take a second."""
