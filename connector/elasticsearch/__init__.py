"""Install slimrank into an Elasticsearch cluster, check it, remove it."""
