"""Another base model: look at it before it is used, say what will change, write configs/training_config.yaml.

Stands to the right of training, data and export, whose rules it asks; nothing imports from here but its script.
"""
