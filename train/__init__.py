"""Training the networks on rendered videos and measuring them."""
