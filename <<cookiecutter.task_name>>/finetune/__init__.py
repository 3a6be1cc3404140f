"""The fine-tuning pipeline of this repository; data flows one way:

config → data → importing → training → evaluation → export → use_model, inference → hub → evidence → github. A folder
imports from its left, never from its right; what several keep (markdown, sealed, inventory, versions, words, codes) is
a module beside this one.
"""

__version__ = "0.1.0"
