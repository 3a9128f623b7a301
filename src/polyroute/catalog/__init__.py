"""What exists, as data: providers, models, prices and routes, merged from the built-in rows and the configuration."""
