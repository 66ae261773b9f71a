"""Every way into slimrank, before every engine, held to the same written cases: order and scores, or the first stage.

`python -m tests.conformance` (make conformance) prints a line a case. The first stage is a real engine, the scores come
from a real gateway over HTTP with a model that counts words, so that every expected score can be worked out here.
"""
