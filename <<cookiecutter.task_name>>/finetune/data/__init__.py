"""Raw records → checked, split and converted chat records."""
