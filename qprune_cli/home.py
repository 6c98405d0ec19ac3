"""Where the cache of this user lies."""

import os
from pathlib import Path


def cache_home() -> Path:
    """QPRUNE_CACHE, or else ``qprune`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("QPRUNE_CACHE") or Path(home) / "qprune").expanduser()
