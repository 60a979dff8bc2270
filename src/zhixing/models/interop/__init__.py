"""Reversible tables of weight names between our families and other libraries'."""
