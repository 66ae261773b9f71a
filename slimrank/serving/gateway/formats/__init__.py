"""The wire formats that callers send: a file each, told apart by the keys of a body, whatever the route.

A format reads a body of its own words into a ``call.RerankCall`` and writes a ``call.Ranking`` in those words again.
``fields`` holds what all of them take. Nothing outside of this package knows another system's words.
"""
