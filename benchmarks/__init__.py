"""Measurements, each a ratio within one run; README.md here says how to run them."""
