"""The `polyroute` command: one module for each group of commands, beside what the larger ones do."""
