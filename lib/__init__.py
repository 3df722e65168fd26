"""All that can be wrong in the book, tested."""
