"""Stage 2, export: write a checkpoint as an ONNX graph, and verify that the graph gives the checkpoint's scores.

It imports the core and ``slimrank.evaluation`` only. It reads a checkpoint folder, which training wrote, and writes a model folder, which serving reads.
"""
