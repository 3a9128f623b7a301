"""What is particular about each provider."""
