"""Tables, figures and the published values they stand beside."""
