"""Composing video and sound: timelines checked against what their inputs are, and compiled to one filter graph. Pure."""
