"""The table of edibility: its words, its sources, and that nothing dangerous in it looks harmless."""

from __future__ import annotations

import csv
import gzip
import re
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroomcurate.edibility import (
    COLUMNS,
    DANGER,
    DEADLY,
    EDIBLE,
    INEDIBLE,
    POISONOUS,
    UNKNOWN,
    Edibility,
    load,
    most_dangerous,
    of,
)
from shroomcurate.safety import SAFETY_NOTICE

ROOT = Path(__file__).parents[1]
TEXT = resources.files("shroomcurate").joinpath("edibility.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines()))
PAGE = (ROOT / "docs" / "edibility.md").read_text(encoding="utf-8")
LOOK_ALIKE = re.compile(r"confused with (deadly|poisonous) ([A-Z][a-z]+ [a-z]+)")
BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z]+(-[a-z]+)*")

#: Species that people die of, and what kills. The table may call more species deadly, but none of these less.
KILLERS = {
    "Amanita phalloides": "amatoxins; most deaths by mushrooms worldwide",
    "Amanita virosa": "amatoxins; destroying angel of Europe",
    "Amanita bisporigera": "amatoxins; destroying angel of eastern North America",
    "Amanita ocreata": "amatoxins; destroying angel of western North America",
    "Amanita verna": "amatoxins; fool's mushroom",
    "Amanita exitialis": "amatoxins; Guangzhou",
    "Amanita fuliginea": "amatoxins; East Asia",
    "Amanita subjunquillea": "amatoxins; East Asia",
    "Amanita magnivelaris": "amatoxins",
    "Amanita arocheae": "amatoxins; Central America",
    "Amanita marmorata": "a relative of the death cap, of Australia",
    "Amanita smithiana": "kidney failure; taken for matsutake",
    "Galerina marginata": "amatoxins; taken for Flammulina, Kuehneromyces and Psilocybe",
    "Galerina sulciceps": "amatoxins; deaths in Indonesia",
    "Conocybe rugosa": "amatoxins; in lawns",
    "Conocybe filaris": "amatoxins; an older name of the same",
    "Lepiota brunneoincarnata": "amatoxins",
    "Lepiota subincarnata": "amatoxins",
    "Lepiota castanea": "amatoxins",
    "Lepiota helveola": "amatoxins",
    "Cortinarius rubellus": "orellanine; kidneys fail after a week or two",
    "Cortinarius orellanus": "orellanine",
    "Gyromitra esculenta": "gyromitrin; false morel",
    "Gyromitra infula": "gyromitrin",
    "Paxillus involutus": "destroys blood cells; long sold as food",
    "Podostroma cornu-damae": "trichothecenes; harmful even to the touch",
    "Pleurocybella porrigens": "fatal brain damage in Japan; long taken for food",
    "Tricholoma equestre": "destroys muscles; long sold as food",
    "Clitocybe rivulosa": "muscarine; grows among fairy ring champignons",
    "Inosperma erubescens": "muscarine; taken for St George's mushroom",
    "Russula subnigricans": "destroys muscles; East Asia",
    "Trogia venenata": "the heart; sudden deaths in Yunnan",
}

#: Species that make ill, of which an older or milder book may say otherwise.
NOT_BELOW_POISONOUS = (
    "Agaricus xanthodermus", "Amanita muscaria", "Amanita pantherina", "Amanita proxima", "Chlorophyllum molybdites",
    "Coprinopsis atramentaria", "Entoloma rhodopolium", "Entoloma sinuatum", "Hebeloma crustuliniforme",
    "Hypholoma fasciculare", "Inocybe geophylla", "Lactarius torminosus", "Omphalotus illudens", "Omphalotus olearius",
    "Omphalotus nidiformis", "Omphalotus olivascens", "Psilocybe cubensis", "Psilocybe cyanescens",
    "Psilocybe semilanceata", "Ramaria formosa", "Rubroboletus satanas", "Russula emetica", "Scleroderma citrinum",
    "Tricholoma pardinum", "Turbinellus floccosus",
)  # fmt: skip

#: Genera of which no species is called edible here: a look-alike of the same genus kills, or all make ill.
NEVER_EDIBLE = (
    "Amanita", "Clitocybe", "Conocybe", "Entoloma", "Galerina", "Gymnopilus", "Gyromitra", "Hebeloma", "Helvella",
    "Hypholoma", "Inocybe", "Inosperma", "Lepiota", "Omphalotus", "Panaeolus", "Paxillus", "Pseudosperma", "Psilocybe",
    "Scleroderma", "Verpa",
)  # fmt: skip


def names_of(row: dict[str, str]) -> list[str]:
    return [row["name"], *filter(None, row["synonyms"].split("; "))]


class TestTheTable:
    def test_it_has_its_columns_and_is_plain_utf_8_sorted_by_name(self) -> None:
        assert TEXT.splitlines()[0] == ",".join(COLUMNS)
        assert "\r" not in TEXT
        assert not TEXT.startswith("\ufeff")
        names = [row["name"] for row in ROWS]
        assert names == sorted(names)
        assert len(names) >= 300

    def test_no_name_leads_to_two_species(self) -> None:
        names = [name for row in ROWS for name in names_of(row)]
        assert sorted(names) == sorted(set(names))

    def test_no_taxon_id_stands_twice(self) -> None:
        taxa = [row["taxon_id"] for row in ROWS if row["taxon_id"]]
        assert len(taxa) == len(set(taxa)) > 0

    def test_its_words_and_names_are_such(self) -> None:
        assert [row for row in ROWS if None in row] == []
        assert {row["edibility"] for row in ROWS} - set(DANGER) == set()
        assert [name for row in ROWS for name in names_of(row) if not BINOMIAL.fullmatch(name)] == []
        assert [row["name"] for row in ROWS if not re.fullmatch(r"[1-9][0-9]*|", row["taxon_id"])] == []
        assert [value for row in ROWS for value in row.values() if value != value.strip()] == []
        # A few words of our own, not a sentence of somebody's.
        assert [row["name"] for row in ROWS if len(row["note"]) > 80] == []

    def test_whoever_says_anything_says_where_it_was_read(self) -> None:
        for row in ROWS:
            sources = list(filter(None, row["sources"].split("; ")))
            assert len(sources) == len(set(sources)), row["name"]
            for source in sources:
                assert urlsplit(source).scheme in {"http", "https"}, row["name"]
                assert urlsplit(source).netloc, row["name"]
                assert not set(source) & set(' ;,"'), row["name"]
            if not sources:
                assert (row["edibility"], row["note"], row["synonyms"]) == (UNKNOWN, "", ""), row["name"]


class TestNothingDangerousLooksHarmless:
    def test_what_kills_is_called_deadly(self) -> None:
        assert {name: why for name, why in KILLERS.items() if of(name).edibility != DEADLY} == {}

    def test_what_makes_ill_is_called_poisonous_at_least(self) -> None:
        assert [name for name in NOT_BELOW_POISONOUS if of(name).edibility not in {POISONOUS, DEADLY}] == []

    @pytest.mark.parametrize("genus", NEVER_EDIBLE)
    def test_no_species_of_a_treacherous_genus_is_called_edible(self, genus: str) -> None:
        of_genus = [row for row in ROWS if any(name.split()[0] == genus for name in names_of(row))]
        if genus == "Clitocybe":  # the wood blewit once stood there, and is told from the others by its colour
            of_genus = [row for row in of_genus if row["name"] != "Lepista nuda"]
        assert of_genus
        assert EDIBLE not in {row["edibility"] for row in of_genus}

    def test_what_is_called_edible_has_two_sources_and_a_note_that_agrees(self) -> None:
        edible = [row for row in ROWS if row["edibility"] == EDIBLE]
        for row in edible:
            assert len({urlsplit(source).netloc for source in row["sources"].split("; ")}) >= 2, row["name"]
            warns = re.sub(r"raw or undercooked poisonous|confused with [^;]*|which may be poisonous", "", row["note"])
            warning = r"poison(?!ed)|toxic|deadly|kill|advised against|suspect|differ|ill\b|upset"
            assert not re.search(warning, warns), (row["name"], warns)

    def test_a_look_alike_that_a_note_names_is_as_dangerous_as_the_note_says(self) -> None:
        named = [match for row in ROWS for match in re.findall(LOOK_ALIKE, row["note"])]
        assert len(named) > 10
        for word, name in named:
            assert DANGER.index(of(name).edibility) >= DANGER.index(word), name

    def test_a_note_of_deaths_stands_beside_no_milder_word_than_poisonous(self) -> None:
        for row in ROWS:
            about_itself = re.sub(r"confused with [^;]*", "", row["note"])
            if re.search(r"death|amatoxins|orellanine|kidney|muscarine|hallucinogenic", about_itself):
                assert row["edibility"] in {POISONOUS, DEADLY}, row["name"]


class TestAskingForAName:
    def test_every_name_and_synonym_finds_its_row(self) -> None:
        for row in ROWS:
            for name in names_of(row):
                found = of(name)
                assert (found.name, found.edibility, found.note) == (row["name"], row["edibility"], row["note"])
                assert of(name.replace(" ", "_")) is found, name

    @pytest.mark.parametrize(
        "name",
        [
            "Amanita_muscaria_guessowii", "Amanita muscaria var. guessowii", "Amanita muscaria subsp. flavivolvata",
            "Amanita muscaria f. alba", "  Amanita  muscaria ", "amanita_muscaria", "Amanita muscaria (L.) Lam.",
        ],
    )  # fmt: skip
    def test_what_is_below_a_species_has_its_entry(self, name: str) -> None:
        assert of(name) is load()["Amanita muscaria"]

    @pytest.mark.parametrize(
        "name",
        [
            "", " ", "Amanita", "Amanita sp.", "Amanita_sp._'N01'", "Amanita cf. phalloides", "Amanita aff. rubescens",
            "Boletus edulis × aereus", "Boletus × edulis", "Boletus_edulis_x_aereus",
            "Boletus edulis group", "Boletus edulis complex",
            "Quercus robur", "Boletus nosuchspecies", "edulis", "Boletus 'edulis'", "../../etc/passwd",
        ],
    )  # fmt: skip
    def test_what_is_not_one_known_species_is_unknown(self, name: str) -> None:
        found = of(name)
        assert (found.edibility, found.note, found.sources, found.taxon_id) == (UNKNOWN, "", (), None)

    @given(st.text())
    def test_any_text_may_be_asked_for(self, name: str) -> None:
        found = of(name)
        assert found.edibility == UNKNOWN or found.name in load()

    def test_the_table_cannot_be_changed_by_who_reads_it(self) -> None:
        with pytest.raises(TypeError):
            load()["Amanita phalloides"] = Edibility("Amanita phalloides", EDIBLE)  # type: ignore[index]
        with pytest.raises(AttributeError):
            of("Amanita phalloides").edibility = EDIBLE  # type: ignore[misc]


class TestTheOrderOfDanger:
    def test_unknown_is_worse_than_no_food_and_better_than_poison(self) -> None:
        assert DANGER == (EDIBLE, INEDIBLE, UNKNOWN, POISONOUS, DEADLY)

    @given(st.lists(st.sampled_from(DANGER)))
    def test_nothing_is_worse_than_the_most_dangerous(self, words: list[str]) -> None:
        worst = most_dangerous(words)
        assert worst in (words or [UNKNOWN])
        assert all(DANGER.index(word) <= DANGER.index(worst) for word in words)


@pytest.mark.shared
def test_it_has_every_fungus_of_the_small_catalogue(shared: Path) -> None:
    with gzip.open(shared / "inat-mini" / "metadata" / "taxa.csv.gz", "rt", encoding="utf-8") as file:
        taxa = [row for row in csv.DictReader(file, delimiter="\t") if row["rank"] == "species"]
    # A slime mould, a mould, an oak, a fly, and a name that is no longer in use are no species of fungi that are eaten.
    left_out = {"Lycogala epidendrum", "Mucor mucedo", "Quercus robur"}
    names = {row["name"] for row in taxa if row["active"] == "true" and BINOMIAL.fullmatch(row["name"])}
    assert len(names - left_out) > 150
    assert names - left_out <= set(load())
    ids = {row["name"]: int(row["taxon_id"]) for row in taxa}
    for entry in set(load().values()):
        if entry.taxon_id is not None:
            assert ids[entry.name] == entry.taxon_id


class TestThePageOnEdibility:
    def test_the_notice_stands_before_all_else(self) -> None:
        plain = " ".join(PAGE.replace(">", " ").replace("*", "").split())
        assert " ".join(SAFETY_NOTICE.split()) in plain
        assert plain.index(SAFETY_NOTICE[:40]) < 200

    def test_it_counts_as_the_table_does(self) -> None:
        for word in DANGER:
            count = sum(row["edibility"] == word for row in ROWS)
            assert re.search(rf"^\| `{word}` \| {count} \|", PAGE, re.MULTILINE), (word, count)
        assert f"{len(ROWS)} species" in PAGE

    def test_it_lists_every_site_that_a_row_names(self) -> None:
        sites = {urlsplit(source).netloc for row in ROWS for source in filter(None, row["sources"].split("; "))}
        assert {site for site in sites if f"`{site}`" not in PAGE} == set()

    def test_its_links_are_there(self) -> None:
        for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
            assert target.startswith("http") or (ROOT / "docs" / target).exists(), target


def test_words_of_the_code_are_words_of_the_table() -> None:
    assert {row["edibility"] for row in ROWS} == set(DANGER) == {EDIBLE, INEDIBLE, UNKNOWN, POISONOUS, DEADLY}
