"""Reading labelled faces, and making training batches of them."""
