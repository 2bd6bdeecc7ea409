"""What all other packages share. It imports none of them."""
