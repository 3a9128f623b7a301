"""One module for each step of the schema; never edited after a release."""
