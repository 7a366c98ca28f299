"""One module per table of the report: its schema, computation and text."""
