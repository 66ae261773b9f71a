"""Look at this machine, its model and its services, and say what to do: ``slimrank doctor``."""
