"""`python -m mirage.cli`, as the ranks of a training are started."""

from mirage.cli import app

app()
