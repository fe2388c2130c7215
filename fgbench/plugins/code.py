"""The code of foreign objects, in the keys of what is measured with them: other code is another point."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

OURS = ("fgbench", "fgbench_selectors", "fgbench_reports", "builtins")


def foreign_code(*objects: Any) -> str | None:
    """A digest of the files that define classes and functions of others; None where all are fgbench's own."""
    foreign = [each for each in map(_unwrapped, objects) if each.__module__.partition(".")[0] not in OURS]
    files = [inspect.getsourcefile(each) for each in foreign]
    content = b"".join(Path(file).read_bytes() for file in files if file)
    return hashlib.sha256(content).hexdigest()[:16] if content else None


def _unwrapped(value: Any) -> Any:
    return value if isinstance(value, type) else inspect.unwrap(value)
