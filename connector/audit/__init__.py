"""Stage 5, audit: know what a reindex does to relevance before the alias moves.

`plan` samples real queries; `run` asks both sides and keeps every answer; `measures` and `bounds` compare them;
`judge` grades only what changed; `statistics` and `verdict` say whether it is worse and how sure that is;
`causes` says why; `report` writes it down; `gate` moves the alias, or does not.
"""
