"""Slow, plain evaluators written from the design alone, to check the fast ones against."""
