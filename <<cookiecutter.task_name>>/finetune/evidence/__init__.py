"""Evidence for the checklist: one function an item, which reads the repository and says done, open or failed."""

from finetune.evidence import completion, data, deployment, evaluation, generation, goal, publishing, training
from finetune.evidence.facts import Facts
from finetune.evidence.findings import EVIDENCE, Finding

__all__ = [
    "EVIDENCE", "Facts", "Finding",
    "completion", "data", "deployment", "evaluation", "generation", "goal", "publishing", "training",
]  # fmt: skip
