"""Attacks on running processes within the memory that the containers ship with: ``make attack``."""
