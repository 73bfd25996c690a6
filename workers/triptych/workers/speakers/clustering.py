"""Finds which moments of speech are of the same speaker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.speaker import Embeddings

Labels = npt.NDArray[np.intp]
Tree = npt.NDArray[np.float64]

MAX_POINTS = 3000
"""Points that one tree is grown over: 36 MB of distances, about 40 minutes of speech."""
MAX_SPEAKERS = 32
# Of a speaker who is believed in; what is rarer is noise, laughter or two voices at once.
_MIN_MOMENTS = 3
# Parts are grouped by a higher cosine than the whole: what they leave apart can be joined later.
_FINER = 0.15


def cluster(embeddings: Embeddings, *, same_speaker: float, fewest: int = 0, most: int = 0) -> Labels:
    """Groups embeddings by agglomerative clustering: the two groups with the highest mean cosine are joined, and so on.

    More points than one tree holds are first grouped part by part, and the groups' means are grouped in turn. Groups
    too rare to be a speaker are given up. In the end every moment goes to the speaker whom it resembles most.

    Args:
        embeddings: Shape (moments, size), each of length 1, in time order.
        same_speaker: Mean cosine from which on two groups are one.
        fewest: Speakers at least; 0: unknown. There are never more than moments.
        most: Speakers at most; 0: unknown, then 32.

    Returns:
        Shape (moments,), from 0 in the order in which they first appear.
    """
    if len(embeddings) == 0:
        return np.zeros(0, np.intp)
    points = np.arange(len(embeddings))
    while len(means := means_of(embeddings, points)) > MAX_POINTS:
        points = _by_parts(means, same_speaker + _FINER)[points]
    labels = _speakers(means, np.bincount(points), same_speaker, fewest, most or max(MAX_SPEAKERS, fewest))[points]
    common = labels >= 0
    means = means_of(embeddings[common], labels[common])
    # Whatever the tree said, a moment is of the speaker whom it resembles most.
    return _in_order(np.argmax(embeddings @ means.T, axis=1))


def _speakers(points: Embeddings, sizes: npt.NDArray[np.intp], same_speaker: float, fewest: int, most: int) -> Labels:
    """Gives the speakers of points that stand for so many moments each, from 0; -1 where a group is too rare."""
    tree = _tree(points)
    labels = _cut(tree, 1 - same_speaker, "distance")
    fewest = min(fewest, len(points))
    for count in range(labels.max() + 2, len(points) + 1):
        if len(_common(labels, sizes)) >= fewest:
            break
        labels = _cut(tree, count, "maxclust")
    common = _common(labels, sizes)
    speakers = np.full(labels.max() + 1, -1, np.intp)
    speakers[common] = np.arange(len(common))
    if len(common) > most:
        speakers[common] = _cut(_tree(means_of(points, labels)[common]), most, "maxclust")
    return speakers[labels]


def _common(labels: Labels, sizes: npt.NDArray[np.intp]) -> Labels:
    """Gives the groups that are large enough to be a speaker; all, where none is: a short recording."""
    counts = np.bincount(labels, weights=sizes)
    enough = np.flatnonzero(counts >= _MIN_MOMENTS)
    return enough if len(enough) else np.arange(len(counts))


def _by_parts(points: Embeddings, same_speaker: float) -> Labels:
    """Gives groups of points that are grown part by part: at most half as many."""
    parts = [
        _cut(_tree(points[first : first + MAX_POINTS]), 1 - same_speaker, "distance")
        for first in range(0, len(points), MAX_POINTS)
    ]
    starts = np.cumsum([0, *(part.max() + 1 for part in parts[:-1])])
    groups = np.concatenate([part + start for part, start in zip(parts, starts, strict=True)])
    # Where hardly anything resembles anything, neighbours are joined, whatever they are: there has to be an end.
    return groups if groups.max() + 1 <= len(points) // 2 else np.arange(len(points)) // 2


def _tree(points: Embeddings) -> Tree:
    """Joins the two nearest groups again and again; shape (points - 1, 4), as scipy has it."""
    from scipy.cluster.hierarchy import linkage

    if len(points) == 1:
        return np.zeros((0, 4))
    # Not scipy's own cosine, for which a vector of zeros is far from nothing and near to nothing.
    cosine = np.clip(points @ points.T, -1, 1).astype(np.float64)
    tree: Tree = linkage(1 - cosine[np.triu_indices(len(points), 1)], method="average")
    return tree


def _cut(tree: Tree, at: float, criterion: str) -> Labels:
    """Gives the groups of a tree's points, from 0: below a distance, or so many at most."""
    from scipy.cluster.hierarchy import fcluster

    if len(tree) == 0:
        return np.zeros(1, np.intp)
    return np.asarray(fcluster(tree, at, criterion=criterion), np.intp) - 1


def means_of(embeddings: Embeddings, labels: Labels) -> Embeddings:
    """Gives the mean direction of every label, shape (labels, size), each of length 1."""
    sums = np.zeros((labels.max() + 1, embeddings.shape[1]), np.float32)
    np.add.at(sums, labels, embeddings)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: Embeddings = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return means


def _in_order(labels: Labels) -> Labels:
    _, firsts, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(firsts))[inverse], np.intp)
