"""How strictly photos are judged."""

from __future__ import annotations

from dataclasses import dataclass

from shroomcurate.errors import BadOption


@dataclass(frozen=True)
class CleanOptions:
    """Where the line runs between the class and the rest.

    Parameters
    ----------
    eps
        Cosine distance up to which two photos are neighbours, 0 to 2. Smaller removes more. With planted pictures
        among real photos F1 was about as good from 0.25 to 0.3 and fell off on both sides.
    auto_eps
        Find eps for each class at the knee of its k-distance curve; `eps` is then only for classes without a knee.
    min_samples
        Neighbours, itself included, that make a photo the core of a cluster; at least this many. Classes with less
        than three times as many photos are too small to tell and are left alone.
    min_density
        The same as a share of the class: 0.05 is 10 of 200. A fixed number would let noise form dense clusters in
        larger classes. The larger of the two counts.
    min_share
        Share of a class that a cluster must hold to be the class, or part of it.
    max_share
        A class of which more than this share would go as noise is left alone: then the rule, not the photos, is
        likely wrong.
    learn
        Let the noise model, taught by all classes and by verdicts, overrule DBSCAN's mark on single photos.
    duplicates
        Whether near-duplicates go. If not they stay, and the table still says whose they are.
    suggest
        Photos to name whose verdict would teach most.
    dry_run
        Judge and report, write and move nothing.
    """

    eps: float = 0.3
    auto_eps: bool = False
    min_samples: int = 10
    min_density: float = 0.05
    min_share: float = 0.2
    max_share: float = 0.5
    learn: bool = True
    duplicates: bool = True
    suggest: int = 0
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.eps < 2:
            raise BadOption(
                f"--eps {self.eps} is no cosine distance.", "Give a number above 0 and below 2, such as 0.3."
            )
        if self.min_samples < 2:
            raise BadOption(f"--min-samples {self.min_samples} is too few.", "Give 2 or more, such as 10.")
        if self.suggest < 0:
            raise BadOption(f"--suggest {self.suggest} is no number of photos.", "Give a number such as 50.")
        for name in ("min_density", "min_share", "max_share"):
            if not 0 <= getattr(self, name) <= 1:
                option = f"--{name.replace('_', '-')}"
                raise BadOption(f"{option} {getattr(self, name)} is no share.", "Give a number from 0 to 1.")
