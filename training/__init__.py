"""Train a small language model to rerank: prepare groups, warm-up (stage 1), fine-grained scores (stage 2).

It imports the core and ``slimrank.evaluation`` only. It writes an adapter or a checkpoint, which ``onnx_export`` reads.
"""
