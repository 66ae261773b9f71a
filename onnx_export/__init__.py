"""Stage 2, export: a causal LM becomes an ONNX graph of two logits, proved equal to it.

Imports the core only; training hands it a checkpoint folder, and it hands serving a model folder.
"""
