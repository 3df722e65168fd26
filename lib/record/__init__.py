"""The paper's numbers, ours, and what one says of the other."""
