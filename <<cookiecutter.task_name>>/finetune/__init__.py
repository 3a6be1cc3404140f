"""The fine-tuning pipeline of this repository; data flows one way:

config → data → training → evaluation → export → hub. A folder imports from its left, never from its right.
"""

__version__ = "0.1.0"
