"""Simulated providers that speak the real dialects over HTTP, with faults on demand."""
