"""Image files: decoding, checking and caching them, fitting them to a network's input, and drawing on them."""
