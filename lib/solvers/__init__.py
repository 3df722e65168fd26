"""What is minimised, and how: projected L-BFGS and a quadratic programme, for a batch of problems at once."""
