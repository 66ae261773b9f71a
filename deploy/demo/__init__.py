"""The demo: a corpus that every machine with Python already has, and questions judged by hand."""
