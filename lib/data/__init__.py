"""Digits and photographs: where their files lie, and what is read from them."""
