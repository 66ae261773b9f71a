"""Stage 1 of the tree: train a small language model that judges (data, warm-up, fine-grained scores).

Imports the core only. What it leaves on disk, an adapter or a merged checkpoint with its prompt,
is what ``onnx_export`` reads.
"""
