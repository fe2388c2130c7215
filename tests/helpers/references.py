"""Independent references of the selectors, from the formulas, in NumPy and float64; no code of the package.

Every function takes one image: logits M as a list over blocks of (H, N, N) arrays, tokens as (N, D).
"""

from __future__ import annotations

import numpy as np


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def logits(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """(H, N, d) queries and keys → (H, N, N)."""
    return np.einsum("hid,hjd->hij", q, k) / np.sqrt(q.shape[-1])


def psm(blocks: list[np.ndarray], prefix: int) -> np.ndarray:
    heads = []
    for h in range(blocks[0].shape[0]):
        joint = np.eye(blocks[0].shape[-1])
        for m in blocks[:-1]:
            joint = softmax(m[h], axis=1) @ joint
        heads.append(joint[0, prefix:])
    return np.stack(heads)


def rollout(blocks: list[np.ndarray], prefix: int, reading: str = "cls") -> np.ndarray:
    n = blocks[0].shape[-1]
    joint = np.eye(n)
    for m in blocks:
        step = softmax(m, axis=2).mean(axis=0) + np.eye(n)
        joint = (step / step.sum(axis=1, keepdims=True)) @ joint
    row = joint.mean(axis=0) if reading == "rams" else joint[0]
    patches = row[prefix:]
    return patches / patches.max() if reading == "ev" else patches


def maws(blocks: list[np.ndarray]) -> np.ndarray:
    scores = []
    for m in blocks[:-1]:
        a = softmax(m, axis=2).mean(axis=0)[0, :]
        b = softmax(m, axis=1).mean(axis=0)[:, 0]
        scores.append(a * b)
    return np.stack(scores)


def sacm_untrained(blocks: list[np.ndarray], prefix: int) -> np.ndarray:
    """An excitation whose last layer is zero weighs every block sigmoid(0) = ½."""
    return sum(0.5 * softmax(m, axis=2).prod(axis=0)[0, prefix:] for m in blocks)


def sacm_trained(
    blocks: list[np.ndarray], prefix: int, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> np.ndarray:
    products = [softmax(m, axis=2).prod(axis=0) for m in blocks]
    z = np.array([p.mean() for p in products])
    weights = 1 / (1 + np.exp(-(w2 @ np.maximum(w1 @ z + b1, 0) + b2)))
    return sum(w * p[0, prefix:] for w, p in zip(weights, products, strict=True))


def gls(tokens: np.ndarray, prefix: int, metric: str = "cosine", class_token: bool = True) -> np.ndarray:
    local = tokens[prefix:]
    glob = tokens[0] if class_token else local.mean(axis=0)
    if metric == "cosine":
        return np.array([x @ glob / (np.linalg.norm(x) * np.linalg.norm(glob)) for x in local])
    if metric == "l1":
        return -np.array([np.abs(x - glob).mean() for x in local])
    return -np.array([((x - glob) ** 2).mean() for x in local])


def attention(blocks: list[np.ndarray], prefix: int, block: int = -1) -> np.ndarray:
    return softmax(blocks[block], axis=2).mean(axis=0)[0, prefix:]


def mhv(blocks: list[np.ndarray], prefix: int, grid: tuple[int, int], votes: int = 24) -> np.ndarray:
    rows, columns = grid
    scores = np.zeros((len(blocks) - 1, rows * columns))
    for block, m in enumerate(blocks[:-1]):
        counts = np.zeros((rows, columns))
        for head in softmax(m, axis=2)[:, 0, prefix:]:
            for j in sorted(range(len(head)), key=lambda j: (-head[j], j))[:votes]:
                counts[divmod(j, columns)] += 1
        for r in range(rows):
            for c in range(columns):
                near = [(r + y, c + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
                inside = [(y, x) for y, x in near if 0 <= y < rows and 0 <= x < columns]
                smooth = sum((2 - abs(y - r)) * (2 - abs(x - c)) * counts[y, x] for y, x in inside)
                scores[block, r * columns + c] = smooth
    return scores


def column_mass(blocks: list[np.ndarray], prefix: int) -> np.ndarray:
    maps = np.stack([softmax(m, axis=2) for m in blocks])  # (L, H, N, N)
    return maps.mean(axis=(0, 1))[prefix:, prefix:].sum(axis=0)


def column_entropy(blocks: list[np.ndarray], prefix: int, sigma: float = 1.0) -> np.ndarray:
    """Of the joint map's columns over patches: entropy of their softmax, less that of an even one."""
    heads = []
    for h in range(blocks[0].shape[0]):
        joint = softmax(blocks[0][h], axis=1)
        for m in blocks[1:-1]:
            joint = sigma * softmax(m[h], axis=1) @ joint
        k = softmax(joint[prefix:, prefix:], axis=0)
        heads.append(-(k * np.log(k)).sum(axis=0) - np.log(len(k)))
    return np.stack(heads)


def confidence(class_logits: np.ndarray, reading: str = "token") -> np.ndarray:
    """Logits (N, classes) of every token → (N,)."""
    probabilities = softmax(class_logits, axis=1)
    likeliest = class_logits.mean(axis=0).argmax()
    return probabilities.max(axis=1) if reading == "token" else probabilities[:, likeliest]


def attention_sum(blocks: list[np.ndarray], prefix: int, count: int = 9) -> np.ndarray:
    return sum(attention(blocks, prefix, block) for block in range(len(blocks))[-count:])
