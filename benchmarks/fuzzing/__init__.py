"""What `benchmarks.fuzz` hands to the project: valid inputs of each kind, broken in ways that know their structure."""
