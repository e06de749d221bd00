"""The model card: README.md of a model directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEMPLATE = """---
library_name: sparsexmc
tags:
- extreme-classification
---
# Model of {num_labels:,} labels

Trained with sparsexmc {version}.

| | |
| --- | --- |
{rows}

## How to load

```python
import sparsexmc as sx

model = sx.load("path/to/this/directory", device="cpu")
{call}
```

The weights are in the safetensors format. `config.json` holds size and hash of every file here, this one included: pass
a card of your own to `save(..., card=...)` rather than editing it in place.

## Training data

Not stated by the author.

## Evaluation

Not stated by the author.

## Intended use and limits

Not stated by the author.
"""


def default_card(num_labels: int, version: str, facts: Mapping[str, Any], *, texts: bool) -> str:
    """A card with a table of `facts` and the call that predicts from texts or features."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    call = 'model.predict(["a text"], k=5)' if texts else "model.predict(X, k=5)"
    call += "  # for every instance (name, score) pairs"
    return _TEMPLATE.format(num_labels=num_labels, version=version, rows=rows, call=call)
