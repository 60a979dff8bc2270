"""Ids to batches: memory-mapped shards, and windows cut from them in one reproducible global order."""
