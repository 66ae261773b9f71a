"""The public clients of docs/guides/clients.md, each run in an environment of its own against a gateway."""
