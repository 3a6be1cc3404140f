"""Which architectures the pinned converter turns into GGUF: read from its source text, without running it."""

from __future__ import annotations

import ast
from pathlib import Path

from finetune.export.llama_cpp_source import Converter

_TABLE = "TEXT_MODEL_MAP"
"""Names the text models of newer versions; what is registered beside are image and audio parts."""


def convertible(converter: Converter) -> frozenset[str]:
    """Architectures as config.json names them, such as LlamaForCausalLM; empty where the sources have another shape."""
    registered: set[str] = set()
    for path in (converter.script, *sorted(converter.script.parent.glob("conversion/*.py"))):
        tree = _parsed(path)
        for node in ast.walk(tree) if tree else ():
            if table := _table(node):
                return frozenset(table)
            if isinstance(node, ast.ClassDef):
                registered |= {name for decorator in node.decorator_list for name in _registered(decorator)}
    return frozenset(registered)


def _parsed(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _table(node: ast.AST) -> set[str]:
    """Keys of the table, where `node` assigns it."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    if not isinstance(value, ast.Dict) or _TABLE not in {t.id for t in targets if isinstance(t, ast.Name)}:
        return set()
    return {key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def _registered(decorator: ast.expr) -> list[str]:
    """Names in `@ModelBase.register("…", …)`."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return []
    values = [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]
    return [value for value in values if decorator.func.attr == "register" and isinstance(value, str)]
