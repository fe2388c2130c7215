"""A plug-in file with a selector that sleeps for 50 ms."""

from __future__ import annotations

import time

from fgbench_selectors import Needs, Selector

SLEEP_S = 0.05


class Sleepy(Selector):
    """Scores by the norm of tokens, 50 ms late."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        patches = features.read_tokens()[:, features.num_prefix_tokens :]
        if not patches.is_meta:
            time.sleep(SLEEP_S)
        return patches.norm(dim=-1)
