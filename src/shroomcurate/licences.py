"""The licences that a photo can have: what each asks of whoever uses it, where it can be read, and what mixes.

Not legal advice. Sources: the deeds and legal codes at https://creativecommons.org/licenses/, and Creative Commons'
answers at https://creativecommons.org/faq/.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import combinations

from shroomcurate.errors import BadOption

LICENSES = ("CC0", "PD", "CC-BY", "CC-BY-SA", "CC-BY-ND", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND")

#: What a dataset under each profile may be used for; any photo still needs its attribution, CC0 and PD apart.
LICENSE_PROFILES = {
    "any": LICENSES,
    "commercial": ("CC0", "PD", "CC-BY", "CC-BY-SA"),
    "share": ("CC0", "PD", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA"),
}

#: The same in words.
PERMITS = {
    "any": "Every photo by the terms of its own licence. Most of iNaturalist's are for non-commercial use only, and of "
    "some no changed version may be passed on.",
    "commercial": "Any use, for money too, and changed versions. Each photo needs its attribution (CC0 and PD apart), "
    "and what is made out of a CC-BY-SA photo must itself be CC-BY-SA.",
    "share": "Changed versions may be passed on, but nothing for money. Each photo needs its attribution (CC0 and PD "
    "apart), and what is made out of an SA photo must have that photo's licence.",
}

#: What a licence asks of whoever uses the photo. Source: the deeds at https://creativecommons.org/licenses/.
LICENCES = {
    "CC0": "Free for any use. No attribution needed.",
    "PD": "Public domain: free for any use. No attribution needed.",
    "CC-BY": "Attribution needed. Changes and commercial use are allowed.",
    "CC-BY-SA": "Attribution needed. Share-alike: derived works carry the same licence. Commercial use is allowed.",
    "CC-BY-ND": "Attribution needed. No derivatives: pass it on unchanged only. Commercial use is allowed.",
    "CC-BY-NC": "Attribution needed. Non-commercial use only. Changes are allowed.",
    "CC-BY-NC-SA": "Attribution needed. Non-commercial use only. Share-alike: derived works carry the same licence.",
    "CC-BY-NC-ND": "Attribution needed. Non-commercial use only. No derivatives: pass it on unchanged only.",
}

#: Where each licence can be read. iNaturalist's are version 4.0.
DEEDS = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "PD": "https://creativecommons.org/publicdomain/mark/1.0/",
    **{
        name: f"https://creativecommons.org/licenses/{name[3:].lower()}/4.0/"
        for name in LICENCES
        if name.startswith("CC-")
    },
}

#: Creative Commons' answer on what may be combined in one work, with its chart.
COMBINING = (
    "https://creativecommons.org/faq/#can-i-combine-material-under-different-creative-commons-licenses-in-my-work"
)

#: What Creative Commons says of its licences and the training of models.
TRAINING = "https://creativecommons.org/using-cc-licensed-works-for-ai-training-2/"


def accepted_licenses(text: str) -> list[str]:
    """Return the licences that a profile or a comma-separated list stands for, in the order of ``LICENSES``.

    Raises
    ------
    BadOption
        A name is neither a profile nor one of the eight licences.
    """
    if text in LICENSE_PROFILES:
        return list(LICENSE_PROFILES[text])
    names = {name.strip().upper() for name in text.split(",")}
    for name in sorted(names):
        if name not in LICENSES:
            raise BadOption(
                f"--licenses: {name!r} is not a licence of iNaturalist's open data.",
                f"{_meant(name, text)}Use a profile ({', '.join(LICENSE_PROFILES)}) or some of {', '.join(LICENSES)}, "
                "joined by commas.",
            )
    return [name for name in LICENSES if name in names]


def _meant(name: str, text: str) -> str:
    """Say which licence or profile this is, written otherwise. The nearest by letters may permit what was not meant."""

    def plain(word: str) -> str:
        without_version = re.sub(r"V?[1-9](\.\d)?\W*(INTERNATIONAL)?$", "", word.upper())
        return re.sub(r"[\W_]", "", without_version).removeprefix("CC")

    known = LICENSES if "," in text else (*LICENSES, *LICENSE_PROFILES)
    return "".join(f"Did you mean {each}? " for each in known if plain(each) == plain(name))


def combine(first: str, second: str) -> bool:
    """Return whether one work may be made out of a photo of each licence, such as a collage, and be passed on.

    ND forbids any such work. What is made out of an SA photo must have that photo's licence, and that must meet the
    conditions of the other photo, too: CC-BY-SA allows what NC forbids, and CC-BY-NC-SA is not CC-BY-SA. It is not
    asked of photos that stand side by side: those are a collection. Source: :data:`COMBINING`.
    """
    both = {first, second}
    if any(name.endswith("ND") for name in both):
        return False
    if "CC-BY-SA" in both:
        return not any("NC" in name for name in both)
    return True


def clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of these licences of which no one work may be made, see :func:`combine`; ND apart.

    ND photos clash with every other and with each other, so they are no pairs.
    """
    known = set(names)
    ordered = [name for name in LICENSES if name in known and not name.endswith("ND")]
    return [pair for pair in combinations(ordered, 2) if not combine(*pair)]


def terms(names: Collection[str]) -> list[str]:
    """Return what one must heed who uses photos of these licences together, a sentence each. Not legal advice.

    Parameters
    ----------
    names
        Licences; those that are not known here count for nothing.
    """
    found = [name for name in LICENSES if name in names]

    def those(mark: str) -> str:
        return ", ".join(name for name in found if mark in name.split("-"))

    said = []
    if those("BY"):
        said.append(f"Attribution must stand beside every photo that is shown or passed on ({those('BY')}).")
    if those("NC"):
        said.append(f"Non-commercial use only, for the whole as long as these photos are in it ({those('NC')}).")
    if those("ND"):
        said.append(
            f"No changed version of these photos may be passed on, such as a crop or a collage ({those('ND')})."
        )
    if those("SA"):
        said.append(f"What is made out of such a photo must have that photo's licence ({those('SA')}).")
    if pairs := clashes(found):
        listed = "; ".join(" with ".join(pair) for pair in pairs)
        said.append(
            f"Incompatible in one work, such as a collage, that is passed on: {listed}. Side by side they may stand."
        )
    return said
