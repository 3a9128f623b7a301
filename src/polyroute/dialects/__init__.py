"""Wire JSON to types and back, pure."""
