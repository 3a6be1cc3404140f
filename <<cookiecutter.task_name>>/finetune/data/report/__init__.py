"""The data report: built once, read as JSON, Markdown and a page with pictures."""
