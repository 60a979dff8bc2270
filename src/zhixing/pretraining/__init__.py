"""Objectives that need only text, and the procedure from a recipe to a trained model folder."""
