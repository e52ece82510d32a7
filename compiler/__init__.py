"""From Python to versioned YAML: compile, check, catalog. A library: nothing here prints."""
