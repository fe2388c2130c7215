from __future__ import annotations

import pytest
from helpers.stand_ins import StandIns


@pytest.fixture
def stand_ins(tmp_path) -> StandIns:
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    return StandIns(folder)
