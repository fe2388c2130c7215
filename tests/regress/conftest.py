from __future__ import annotations

import pytest
from regress.standing_in import StandIns


@pytest.fixture
def stand_ins(tmp_path) -> StandIns:
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    return StandIns(folder)
