"""The graph number by which a model is known to be exported as this release does it. Nothing here needs torch."""

GRAPH_NUMBER_KEY = "graph_number"
GRAPH_NUMBERS = {"fp16": 2, "int8": 2}
"""The number of the serving graph by precision, default 1. Raise it by hand when a change of the graph means that
folders made before must be made again; a folder without a number has 1. fp16, 2: norms sum in float32, padding has positions.
int8, 2: weights are rounded as in ``onnx_export.rounding``."""


def graph_number(precision: str) -> str:
    """Return the number of the graph that this release writes in a precision."""
    return str(GRAPH_NUMBERS.get(precision, 1))
