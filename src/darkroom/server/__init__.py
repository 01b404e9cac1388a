"""The studio's server: keeps jobs, speaks to clients, serves the page. It never imports torch."""
