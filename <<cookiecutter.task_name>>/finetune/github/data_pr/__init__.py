"""data.yml: what a pull request changes in data and settings, and how that is told."""
