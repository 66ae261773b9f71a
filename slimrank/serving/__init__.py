"""Stage 3, serve: an exported model behind ONNX Runtime, Celery workers and an HTTP gateway.

Imports the core only; never training or onnx_export, which it meets on disk.
"""
