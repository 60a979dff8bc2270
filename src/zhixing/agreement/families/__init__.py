"""The rows of the agreement table, one file per file of ``theory``."""
