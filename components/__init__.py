"""Reusable constructs, one capability each."""
