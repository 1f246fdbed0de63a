"""The licences that a photo can have: what each asks of whoever uses it, and where it can be read."""

from __future__ import annotations

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
