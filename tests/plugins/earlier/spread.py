# spread.py
from fgbench_selectors import Needs, Selector


class Spread(Selector):
    """Distance of every patch token from the mean patch → (B, G²)."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        patches = features.read_tokens()[:, features.num_prefix_tokens :]
        return (patches - patches.mean(dim=1, keepdim=True)).norm(dim=-1)
