"""What a person asks about a run: is all in place, what would it take, how far is it, why again.

Every question is a function that returns plain data; :mod:`mirage.operations.display` prints it. The keys
of that data are the keys of ``--json``.
"""
