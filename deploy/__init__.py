"""Ways to run slimrank: the demo, images, charts, dashboards. No other package imports this one."""
