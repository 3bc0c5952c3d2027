"""The panels of the window, one file a view."""
