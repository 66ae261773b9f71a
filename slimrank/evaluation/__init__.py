"""What a measurement is made of: collections, runs, measures, and the reports of what was measured.

Runs no model. Training, export and every room above read and write the same files through it.
"""
