"""What `benchmarks.stress.fuzz` hands to the project: valid inputs, broken in ways that know their structure."""
