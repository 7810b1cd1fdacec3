"""One HTML file that shows runs."""
