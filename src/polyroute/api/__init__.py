"""The HTTP surface for callers: nothing but parse, Gateway, render."""
