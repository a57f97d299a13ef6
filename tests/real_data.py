"""Where the real data of the tests stands."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
#: The folder with an index.json: as FTDEPLOY_MIRROR named it when the tests began, else beside the checkout.
MIRROR = Path(os.environ.get("FTDEPLOY_MIRROR") or _BESIDE).expanduser()
