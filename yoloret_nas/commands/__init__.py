"""One module per command: parse, call a lower package, print."""
