"""The paper's networks and public ones, and how ours are trained."""
