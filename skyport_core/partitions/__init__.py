"""The partition lifecycle: recorded before it is made, verified gone at the end."""
