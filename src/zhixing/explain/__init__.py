"""Explaining: one topic of the field as formula, live worked example, picture, and the places where it is computed."""
