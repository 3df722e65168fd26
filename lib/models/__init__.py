"""The paper's networks: inputs in [0, 1], logits out, preprocessing inside."""
