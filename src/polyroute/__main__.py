"""`python -m polyroute`."""

from polyroute.cli.program import main

main()
