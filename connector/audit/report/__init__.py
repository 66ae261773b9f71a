"""The report of an audit: one JSON that holds all, a page to read, and JUnit XML."""
