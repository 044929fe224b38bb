#!/usr/bin/env python3
"""Generate data/names.txt: names composed of the syllables of three invented peoples, each with its own endings.

    scripts/make_names.py > data/names.txt

A name is an onset, zero to two middles and an ending. The order is random, so that all parts of the file have the same
distribution.
"""

import random

SEED = 2026
PER_PEOPLE = 700

PEOPLES = {
    "river": (
        "Al El Il Ae Bel Cael Fael Liri Mael Nai Rae Sael Tal Vael Yl",
        "a e i la le li na ne ra re ri sha tha",
        "lin riel wen ra nis lith mira dis sa thiel nor ren",
    ),
    "hill": (
        "Bor Brak Dor Dur Gar Grim Gund Hark Kor Krag Mor Orm Thor Thrak Ulf",
        "a o u da do gra ka ko ru va",
        "din gar grim mund nak rik stad thor var zok bek drum",
    ),
    "sea": (
        "An Beno Cari Domi Este Fila Gio Iso Luci Mari Nico Pao Rosa Savi Teo",
        "be co di la lo ma mi no ri se ta vi",
        "na no lia rio ssa tto nza ro ndo la via mo",
    ),
}


def names(random_state: random.Random, *sounds: str) -> set[str]:
    """Return ``PER_PEOPLE`` different names composed of the onsets, middles and endings of one people."""
    onsets, middles, endings = map(str.split, sounds)
    found: set[str] = set()
    while len(found) < PER_PEOPLE:
        between = random_state.choices(middles, k=random_state.choice((0, 1, 1, 1, 2)))
        name = "".join([random_state.choice(onsets), *between, random_state.choice(endings)])
        if not any(letter * 3 in name for letter in "aeioulnrst"):
            found.add(name)
    return found


def main() -> None:
    """Print the names, one per line."""
    random_state = random.Random(SEED)
    everybody = sorted(set().union(*(names(random_state, *sounds) for sounds in PEOPLES.values())))
    random_state.shuffle(everybody)
    print("\n".join(everybody))  # standard output is the data file


if __name__ == "__main__":
    main()
