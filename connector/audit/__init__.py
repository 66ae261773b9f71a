"""Stage 5, audit: measure what a reindex does to relevance before the alias moves.

``plan`` samples real queries. ``run`` asks both sides and keeps every answer. ``measures`` and ``bounds`` compare the answers.
The judges grade only what changed. ``statistics`` and ``verdict`` decide whether the new side is worse, and how certain that is.
``causes`` finds out why. ``report`` writes the result. ``gate`` moves the alias only after a pass.
"""
