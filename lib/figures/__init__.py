"""Measured things in, a matplotlib Figure (or an element of the page) out."""
