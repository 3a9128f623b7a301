"""What `polyroute prices`, `reconcile` and `backtest` do: from settings to a report, and the report on the terminal."""
