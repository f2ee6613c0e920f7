"""What each command shows people, a module per subject; how text is laid out is in `checks.render`."""
