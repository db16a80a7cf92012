"""The wheel: what is in it, and whether it runs without the checkout."""
