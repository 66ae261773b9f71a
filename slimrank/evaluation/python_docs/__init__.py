"""A collection that every machine with Python already has: the documentation of the standard library, and questions judged by hand.

Needs nothing but Python, so that any interpreter can build it from a checkout.
"""
