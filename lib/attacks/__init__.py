"""How an image is changed: the paper's attack, the tight one, the exact optimum, and all that is not an attack."""
