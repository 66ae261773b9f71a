"""Ask the two sides of an audit: their state, their hits, their documents, chunk by chunk."""
