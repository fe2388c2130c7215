"""Confidence of a classifier at every token: the selection of PIM (arXiv 2202.03822) and HERBS (arXiv 2303.06442)."""

from __future__ import annotations

from torch import Tensor

from fgbench_selectors.backends.precision import accurate
from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

READINGS = ("token", "image")


class Confidence(Selector):
    """Probability of one class at every token → (B, N), by the logits that a classifier gives each of them.

    No attention is read. The two systems differ in the class whose probability counts.
    Source: PIM, released code; HERBS, released code.

    Args:
        impl: ``published`` or ``fast``.
        reading: ``token``, the likeliest class of each token (PIM); ``image``, the likeliest class by the mean logits
            of all tokens (HERBS).

    Raises:
        FgbenchError: If the reading is unknown.

    """

    needs = Needs(class_logits=True)
    score_shape = ("batch", "tokens")

    def __init__(self, impl: str = "fast", reading: str = "token") -> None:
        super().__init__(impl)
        if reading not in READINGS:
            raise FgbenchError("unknown reading of confidence", reading, f"known: {', '.join(READINGS)}")
        self.reading = reading

    def published(self, features: Features) -> Tensor:
        """Take the softmax over the classes of every token, then one entry of it: O(N·classes) memory."""
        logits = accurate(features.read_class_logits())
        probs = logits.softmax(dim=-1)
        if self.reading == "token":
            return probs.amax(dim=-1)
        return _of_class(probs, logits.mean(dim=1).softmax(dim=-1).argmax(dim=-1))

    def fast(self, features: Features) -> Tensor:
        """Divide one exponential by the sum of all of its token: no probability but that one is computed.

        The exponentials are those of logits less the highest one, as in a softmax: a difference from the log-sum-exp
        would be rounded as coarsely as the logits are, and the order of confident tokens with it.
        """
        logits = accurate(features.read_class_logits())
        highest = logits.amax(dim=-1)
        total = (logits - highest.unsqueeze(-1)).exp().sum(dim=-1)
        if self.reading == "token":
            return total.reciprocal()
        chosen = _of_class(logits, logits.mean(dim=1).softmax(dim=-1).argmax(dim=-1))
        return (chosen - highest).exp() / total


def _of_class(values: Tensor, classes: Tensor) -> Tensor:
    """The values (B, N) of one class (B,) per image, of values (B, N, classes)."""
    return values.gather(2, classes.view(-1, 1, 1).expand(-1, values.shape[1], -1)).squeeze(-1)
