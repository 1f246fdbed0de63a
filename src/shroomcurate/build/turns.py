"""`download` and `clean`, one after the other, until each class has N clean photos or its reserve is empty.

What happens next depends on what lies on the disk and on nothing else, so that a killed build takes the same way. From
one standing `download` and `clean` always lead to the same next one, and there are so many photos only: the way ends,
or goes in a circle, as when a newcomer lets a removed photo look like its class, and is then one too many itself. Of a
circle the best standing is taken, wherever the way came into it.
"""

from __future__ import annotations

from collections.abc import Callable

from shroomcurate.build.due import Standing, clean_due, download_due, places_due, standing
from shroomcurate.build.recipe import Recipe
from shroomcurate.dataset import Dataset
from shroomcurate.progress import Progress
from shroomcurate.status.look import Look

Run = Callable[[str, str | None], None]


def take_turns(dataset: Dataset, recipe: Recipe, progress: Progress, run: Run) -> int:
    """Run `download` and `clean` as often as it takes; return how often `clean` judged.

    Parameters
    ----------
    run
        Called as ``run(stage, why)``; with no reason for a stage that is current from the start.
    """
    tried: set[tuple[str, str]] = set()
    way: list[Standing] = []
    ran: list[str] = []
    while True:
        with Look(dataset, progress) as look:
            stage, why = _next(look, recipe, tried, way)
        if not ran:
            for current in ("download", "clean"):
                if stage is None or (current == "download" and stage == "clean"):
                    run(current, None)
        if stage is None:
            return ran.count("clean")
        run(stage, why)
        ran.append(stage)


def first_turn(look: Look, recipe: Recipe) -> dict[str, str | None]:
    """Return why each of the two would run."""
    found: dict[str, str | None] = {"download": download_due(look, recipe)}
    found["clean"] = clean_due(look, recipe)
    if set(found.values()) == {None} and (places := places_due(look)):
        found["download"] = places
    return found


def _next(
    look: Look, recipe: Recipe, tried: set[tuple[str, str]], way: list[Standing]
) -> tuple[str | None, str | None]:
    """Return what to run next, and why; nothing when there is nothing left that would help."""
    here = standing(look) if look.has("selection.parquet") else None
    for stage, due in (("download", download_due), ("clean", clean_due)):
        why = due(look, recipe)
        # Tried here before, and still due: as of photos that the server does not deliver. Another turn brings no more.
        if why is not None and (stage, here.digest if here else "") not in tried:
            tried.add((stage, here.digest if here else ""))
            return stage, why
    why = places_due(look)
    if here is None or why is None or _is_end(here, way):
        return None, None
    way.append(here)
    return "download", why


def _is_end(here: Standing, way: list[Standing]) -> bool:
    """Tell whether this is the best standing of a circle; the way has not been in a circle when it is new."""
    if here not in way:
        return False
    circle = way[way.index(here) :]
    return here == min(circle)
