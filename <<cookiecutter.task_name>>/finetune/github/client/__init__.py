"""GitHub as the workflows see it: REST API, comments, statuses, and what the Actions runner gives and takes."""
