"""What ImageNet's head sees in a photo, summed over kinds of things that matter here.

The head gives each of ImageNet's thousand classes (Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575, in the
usual order of the ILSVRC 2012 synsets) a probability. One class says little about a photo it was not made for, the
sum over a kind says much: a micrograph is called nematode, flatworm or jellyfish, hardly ever a mushroom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroomcurate.dataset import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = 1000

#: Kind -> the indices of its ImageNet classes. No class stands in two kinds; many stand in none.
KINDS: dict[str, tuple[int, ...]] = {
    # mushroom, coral fungus, agaric, gyromitra, stinkhorn, earthstar, hen-of-the-woods, bolete
    "fungus": (947, *range(991, 998)),
    # vegetables and fruit, flowers, ears and seeds
    "plant": (*range(936, 947), *range(948, 959), *range(984, 991), 998),
    # all animals but those below
    "animal": tuple(i for i in range(398) if i not in {107, 110, 111}),
    # jellyfish, flatworm, nematode, honeycomb, petri dish, bubble: what micrographs are taken for
    "microscopic": (107, 110, 111, 599, 712, 971),
    # mountains, valleys, shores; fences, walls, bridges, piers; houses; what drives, swims and flies
    "scenery": (
        970, *range(972, 981), 489, 646, 716, 825, 912, 460, 525, 536, 718, 821, 839, 888,
        425, 449, 483, 497, 500, 538, 580, 663, 668, 672, 698, 703, 706, 743, 832, 873, 919, 920,
        403, 404, 405, 407, 408, 417, 436, 444, 466, 468, 472, 510, 511, 547, 554, 555, 569, 595, 609, 625, 627, 628,
        654, 656, 661, 665, 670, 671, 675, 705, 717, 730, 734, 751, 779, 780, 814, 817, 820, 829, 856, 864, 866, 867,
        871, 874, 895, 913, 914,
    ),
    # clothes, shoes, hats, glasses, wigs, plasters; ballplayer, bridegroom, diver: ImageNet has no class of people
    "person": (
        399, 400, 411, 419, 433, 439, 445, 452, 457, 459, 474, 501, 502, 514, 515, 518, 560, 568, 578, 601, 608, 610,
        614, 615, 617, 630, 638, 639, 643, 655, 658, 689, 697, 735, 770, 774, 775, 793, 796, 806, 808, 834, 836, 837,
        841, 842, 869, 887, 903, 906, 981, 982, 983,
    ),
    # hand tools, pens, rulers, knives and spoons: what lies in a hand or beside a mushroom
    "tool": (
        418, 473, 477, 499, 512, 563, 587, 596, 600, 618, 623, 626, 633, 635, 677, 709, 710, 714, 731, 740, 749, 767,
        769, 772, 778, 783, 784, 792, 813, 845, 902, 910,
    ),
    # screens, telephones, books, envelopes, menus, comics, puzzles
    "document": (446, 487, 508, 527, 549, 590, 605, 611, 620, 664, 681, 692, 782, 848, 851, 916, 917, 918, 921, 922),
}  # fmt: skip

IMAGENET_COLUMNS = tuple(
    Column(f"imagenet_{kind}", "float", f"ImageNet's head: probability of {what}; null without its weights")
    for kind, what in {
        "fungus": "fungi",
        "plant": "plants and fruit",
        "animal": "animals",
        "microscopic": "what micrographs are taken for",
        "scenery": "landscape, buildings and vehicles",
        "person": "clothes and people",
        "tool": "tools",
        "document": "screens and printed matter",
    }.items()
)


def imagenet_evidence(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum the head's probabilities over each kind.

    Parameters
    ----------
    probabilities
        Shape (photos, 1000), or (photos, 1001) with the background first, as some releases of the weights have it.

    Returns
    -------
    ndarray of float32, shape (photos, kinds)
        The numbers named in :data:`IMAGENET_COLUMNS`, in their order, 0..1, four decimals.
    """
    import numpy as np

    classes = probabilities[:, -CLASSES:]
    sums = [classes[:, indices].sum(axis=1, dtype=np.float64) for indices in KINDS.values()]
    return np.stack(sums, axis=1).round(4).astype(np.float32)
