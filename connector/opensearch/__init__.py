"""Install slimrank into an OpenSearch cluster, check it, find the traps, remove it."""
