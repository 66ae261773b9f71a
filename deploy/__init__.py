"""What runs slimrank for somebody: the demo, images, charts, dashboards. Nothing imports this package."""
