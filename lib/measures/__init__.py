"""What is asked of networks, layers and adversarial images, and how sure the answers are."""
