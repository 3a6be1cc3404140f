"""Evidence for the checklist: one function an item, which reads the repository and says done, open or failed."""

# Importing a module puts its functions into finetune.evidence.registry.
from finetune.evidence import (  # noqa: F401
    completion,
    data,
    deployment,
    evaluation,
    generation,
    goal,
    publishing,
    training,
)
