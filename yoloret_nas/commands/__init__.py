"""One module a command: parse, call a lower package, print."""
