"""Published models written for Brian2 from their equations: users' models, which know nothing of this library."""
