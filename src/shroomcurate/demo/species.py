"""What lives in the demo: real species with invented ids, how they look, and the branches they sit on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Appearance:
    """How a fruiting body looks. Lengths are in cap radii, colours are RGB 0..255.

    Parameters
    ----------
    shape
        convex, conical, flat, funnel, bracket, cup, ball, morel or club.
    centre, margin
        Colours of the cap's middle and of its edge.
    height
        Height of the cap; of a cup or funnel, its depth.
    surface
        smooth, warts, scales, fibres, zones or pits; in the colour `detail`.
    gloss
        0 is matt, 1 is slimy.
    underside
        gills, pores or ridges, in the colour `gills`.
    thickness, length
        Half the stem's width, and its length; a length of 0 means no stem.
    ring, bulb
        Whether the stem has a ring, and a swollen base.
    cluster
        Fewest and most fruiting bodies in a photo.
    size
        Typical cap radius as a share of the photo's long side.
    ground
        moss, leaves, wood, grass or needles.
    season
        spring, summer, autumn or winter: the light, and the colours of the background.
    """

    shape: str
    centre: Colour
    margin: Colour
    height: float
    surface: str = "smooth"
    detail: Colour = (245, 240, 225)
    gloss: float = 0.15
    underside: str = "gills"
    gills: Colour = (240, 232, 214)
    stem: Colour = (236, 228, 208)
    thickness: float = 0.2
    length: float = 1.8
    ring: bool = False
    bulb: bool = False
    cluster: tuple[int, int] = (1, 2)
    size: float = 0.2
    ground: str = "leaves"
    season: str = "autumn"


class Species(NamedTuple):
    """A species, its classification from phylum to family, and its look."""

    name: str
    phylum: str
    class_name: str
    order: str
    family: str
    look: Appearance


class Taxon(NamedTuple):
    """A row of taxa.csv. `rank_level` is text: the dumps have ``10`` and ``10.0``."""

    taxon_id: int
    ancestry: str
    rank_level: str
    rank: str
    name: str
    active: bool


_B, _A = "Basidiomycota", "Ascomycota"
_AGARICALES = (_B, "Agaricomycetes", "Agaricales")
_BOLETALES = (_B, "Agaricomycetes", "Boletales", "Boletaceae")
_POLYPORALES = (_B, "Agaricomycetes", "Polyporales")
_PEZIZALES = (_A, "Pezizomycetes", "Pezizales")

SPECIES = (
    Species("Amanita muscaria", *_AGARICALES, "Amanitaceae", Appearance(
        "convex", (198, 30, 16), (226, 88, 26), 0.55, "warts", (250, 244, 226), 0.45, thickness=0.17, length=2.0,
        ring=True, bulb=True, size=0.2, ground="needles")),
    Species("Amanita phalloides", *_AGARICALES, "Amanitaceae", Appearance(
        "convex", (134, 140, 62), (196, 198, 132), 0.5, "fibres", (96, 104, 40), 0.35, gills=(248, 246, 232),
        thickness=0.16, length=2.2, ring=True, bulb=True, size=0.17, ground="leaves")),
    Species("Boletus edulis", *_BOLETALES, Appearance(
        "convex", (112, 62, 28), (168, 110, 58), 0.62, "smooth", gloss=0.25, underside="pores", gills=(226, 214, 150),
        stem=(224, 200, 158), thickness=0.42, length=1.5, bulb=True, cluster=(1, 2), size=0.2, ground="moss")),
    Species("Suillus luteus", _B, "Agaricomycetes", "Boletales", "Suillaceae", Appearance(
        "convex", (92, 48, 22), (142, 84, 38), 0.45, "fibres", (70, 34, 16), 0.95, "pores", (236, 204, 84),
        (232, 204, 116), 0.26, 1.2, ring=True, cluster=(1, 3), size=0.18, ground="needles")),
    Species("Cantharellus cibarius", _B, "Agaricomycetes", "Cantharellales", "Hydnaceae", Appearance(
        "funnel", (232, 158, 30), (250, 190, 58), 0.75, "smooth", underside="ridges", gills=(244, 178, 56),
        stem=(244, 184, 70), thickness=0.26, length=1.0, cluster=(2, 5), size=0.14, ground="moss", season="summer")),
    Species("Craterellus cornucopioides", _B, "Agaricomycetes", "Cantharellales", "Hydnaceae", Appearance(
        "funnel", (34, 30, 28), (78, 70, 64), 1.25, "fibres", (22, 20, 20), 0.1, "ridges", (104, 98, 94),
        (84, 78, 74), 0.2, 0.7, cluster=(3, 6), size=0.12, ground="leaves")),
    Species("Macrolepiota procera", *_AGARICALES, "Agaricaceae", Appearance(
        "flat", (122, 82, 50), (228, 212, 184), 0.34, "scales", (124, 86, 54), 0.05, stem=(190, 160, 122),
        thickness=0.09, length=2.6, ring=True, bulb=True, cluster=(1, 2), size=0.19, ground="grass")),
    Species("Coprinus comatus", *_AGARICALES, "Agaricaceae", Appearance(
        "conical", (204, 178, 140), (246, 242, 232), 2.1, "scales", (196, 166, 124), 0.05, gills=(226, 200, 194),
        thickness=0.26, length=2.4, cluster=(1, 4), size=0.1, ground="grass")),
    Species("Agaricus campestris", *_AGARICALES, "Agaricaceae", Appearance(
        "convex", (246, 242, 234), (238, 232, 222), 0.55, "smooth", gills=(206, 130, 124), thickness=0.26, length=1.1,
        ring=True, cluster=(1, 3), size=0.17, ground="grass", season="summer")),
    Species("Hygrocybe conica", *_AGARICALES, "Hygrophoraceae", Appearance(
        "conical", (206, 40, 18), (246, 134, 24), 1.05, "fibres", (150, 24, 12), 0.75, gills=(246, 214, 110),
        stem=(244, 190, 58), thickness=0.15, length=2.3, cluster=(1, 4), size=0.1, ground="grass")),
    Species("Mycena haematopus", *_AGARICALES, "Mycenaceae", Appearance(
        "conical", (122, 66, 62), (190, 140, 132), 0.95, "fibres", (98, 48, 48), 0.3, gills=(226, 200, 194),
        stem=(142, 82, 76), thickness=0.09, length=2.6, cluster=(5, 9), size=0.075, ground="wood")),
    Species("Laccaria amethystina", *_AGARICALES, "Hydnangiaceae", Appearance(
        "convex", (106, 66, 122), (146, 106, 156), 0.45, "smooth", gloss=0.1, gills=(128, 74, 148),
        stem=(142, 98, 156), thickness=0.13, length=2.4, cluster=(2, 5), size=0.11, ground="leaves")),
    Species("Hypholoma fasciculare", *_AGARICALES, "Strophariaceae", Appearance(
        "convex", (214, 132, 40), (236, 212, 92), 0.5, "smooth", gloss=0.2, gills=(164, 164, 74),
        stem=(226, 198, 92), thickness=0.13, length=1.9, cluster=(6, 10), size=0.09, ground="wood")),
    Species("Armillaria mellea", *_AGARICALES, "Physalacriaceae", Appearance(
        "convex", (148, 96, 38), (208, 166, 86), 0.42, "scales", (98, 60, 24), 0.2, stem=(190, 154, 108),
        thickness=0.16, length=2.0, ring=True, cluster=(4, 8), size=0.12, ground="wood")),
    Species("Trametes versicolor", *_POLYPORALES, "Polyporaceae", Appearance(
        "bracket", (64, 56, 58), (232, 222, 204), 0.1, "zones", (140, 92, 56), 0.1, "pores", length=0,
        cluster=(5, 9), size=0.15, ground="wood", season="winter")),
    Species("Laetiporus sulphureus", *_POLYPORALES, "Laetiporaceae", Appearance(
        "bracket", (240, 130, 34), (252, 218, 88), 0.28, "smooth", (246, 160, 50), 0.1, "pores", (250, 226, 90),
        length=0, cluster=(4, 7), size=0.19, ground="wood", season="summer")),
    Species("Lycoperdon perlatum", *_AGARICALES, "Lycoperdaceae", Appearance(
        "ball", (206, 190, 158), (238, 232, 216), 1.0, "warts", (252, 248, 238), 0.0, stem=(238, 232, 216),
        thickness=0.97, length=0.75, cluster=(2, 5), size=0.1, ground="needles")),
    Species("Morchella esculenta", *_PEZIZALES, "Morchellaceae", Appearance(
        "morel", (196, 158, 92), (170, 128, 66), 2.0, "pits", (74, 50, 26), 0.1, stem=(238, 224, 190),
        thickness=0.5, length=2.0, cluster=(1, 3), size=0.11, ground="leaves", season="spring")),
    Species("Sarcoscypha coccinea", *_PEZIZALES, "Sarcoscyphaceae", Appearance(
        "cup", (196, 16, 24), (224, 48, 40), 0.55, "smooth", gloss=0.35, gills=(240, 198, 186), length=0,
        cluster=(2, 6), size=0.11, ground="moss", season="winter")),
    Species("Aleuria aurantia", *_PEZIZALES, "Pyronemataceae", Appearance(
        "cup", (246, 126, 14), (252, 156, 34), 0.36, "smooth", gloss=0.2, gills=(250, 196, 120), length=0,
        cluster=(3, 8), size=0.11, ground="grass")),
    Species("Xylaria polymorpha", _A, "Sordariomycetes", "Xylariales", "Xylariaceae", Appearance(
        "club", (50, 44, 42), (84, 76, 70), 0.0, "pits", (30, 26, 26), 0.05, stem=(58, 52, 48), thickness=0.36,
        length=2.6, cluster=(3, 6), size=0.12, ground="wood", season="spring")),
    Species("Clavulinopsis fusiformis", *_AGARICALES, "Clavariaceae", Appearance(
        "club", (244, 210, 40), (248, 220, 70), 0.0, "smooth", gloss=0.25, stem=(246, 212, 44), thickness=0.15,
        length=3.0, cluster=(7, 12), size=0.09, ground="moss")),
)  # fmt: skip

LIFE, FUNGI = 48460, 47170
PHYLA = {_B: 47169, _A: 48250}
_LEVELS = {"phylum": 60, "class": 50, "order": 40, "family": 30, "genus": 20, "species": 10}

#: Below which species a subspecies, variety or form stands: its photos belong to the species' class.
INFRASPECIES = (
    ("Amanita muscaria", "variety", "Amanita muscaria guessowii"),
    ("Morchella esculenta", "form", "Morchella esculenta rigida"),
    ("Macrolepiota procera", "subspecies", "Macrolepiota procera permixta"),
)
#: Names as awkward as the real ones: a hybrid, an inactive name with quotes, one with a backslash.
INACTIVE = r'Boletus "betulicola" \ var.'
HYBRID = 'Boletus edulis × "aereus"'
BIRCH, ROBIN = "Betula pendula", "Erithacus rubecula"


def make_taxa(species: tuple[Species, ...] = SPECIES) -> dict[str, Taxon]:
    """Return the tree: name -> taxon, parents before children.

    Only Life, Fungi and the two phyla carry their true iNaturalist ids; the others are invented and start with 9.
    """
    taxa = {
        "Life": Taxon(LIFE, "", "100", "stateofmatter", "Life", True),
        "Fungi": Taxon(FUNGI, f"{LIFE}", "70", "kingdom", "Fungi", True),
    }

    def add(parent: str, rank: str, name: str, level: str, taxon_id: int = 0, active: bool = True) -> None:
        if name not in taxa:
            above = taxa[parent]
            path = f"{above.ancestry}/{above.taxon_id}".lstrip("/")
            taxa[name] = Taxon(taxon_id or 9_000_000 + len(taxa), path, level, rank, name, active)

    for number, one in enumerate(species):
        lineage = (one.phylum, one.class_name, one.order, one.family, one.name.split()[0], one.name)
        parent = "Fungi"
        for (rank, level), name in zip(_LEVELS.items(), lineage, strict=True):
            # Some snapshots write whole numbers as 10.0.
            text = f"{level}.0" if rank == "species" and number % 3 == 0 else str(level)
            add(parent, rank, name, text, PHYLA.get(name, 0))
            parent = name
    for name, taxon_id in PHYLA.items():  # both are what load-csvs looks for, also in a demo of few species
        add("Fungi", "phylum", name, str(_LEVELS["phylum"]), taxon_id)
    names = {one.name for one in species}
    for parent, rank, name in INFRASPECIES:
        if parent in names:
            add(parent, rank, name, "5")
    host = species[0].name.split()[0]
    add(host, "hybrid", HYBRID, "10")
    add(host, "species", INACTIVE, "10", active=False)
    # An id that begins like Basidiomycota's must not count as below it.
    add("Life", "kingdom", "Plantae", "70", 47126)
    add("Plantae", "phylum", "Tracheophyta", "60", 471690)
    add("Tracheophyta", "species", BIRCH, "10")
    add("Life", "kingdom", "Animalia", "70", 1)
    add("Animalia", "species", ROBIN, "10")
    return taxa
