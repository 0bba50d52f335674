"""Networks as graphs of NIR: reading, running and writing them."""
