"""The parts of a measurement: collections, runs, measures and reports.

Runs no model. Training, export and every room above read and write the same files through it.
"""
