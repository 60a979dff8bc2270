"""Bricks with one agreed meaning: attention, positions, norms, feed-forward, caches, losses.

Dimension legend of the whole project: ``B`` batch, ``T`` query length, ``S`` key length, ``D`` width, ``H``
heads, ``G`` key-value heads, ``E`` head width, ``F`` feed-forward width, ``V`` vocabulary.
"""
