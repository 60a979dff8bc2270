"""知: every algorithm stated once, short, in float64 NumPy, reading like its formula.

Nothing here is fast and nothing here imports the rest of the project: production code is tested against it.
"""
