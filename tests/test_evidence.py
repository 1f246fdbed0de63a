"""Numbers that a person can check: each says what one sees, on any picture, at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from shroomcurate.evidence import PIXEL_COLUMNS, make_thumbnails, measure, pixel_evidence, shrink
from shroomcurate.photos import read_photo

NAMES = [column.name for column in PIXEL_COLUMNS]
SKY, GRASS, SOIL, SKIN = (120, 170, 235), (70, 130, 40), (92, 74, 58), (205, 150, 125)


def textured(colour: tuple[int, int, int], size: tuple[int, int] = (500, 375), seed: int = 0) -> Image.Image:
    """A surface with detail at every scale, as forest soil has, around one colour."""
    random = np.random.default_rng(seed)
    layers = np.zeros((size[1], size[0]))
    for cell in (2, 7, 19):  # none is a whole number of pixels of the thumbnail
        coarse = random.normal(0, 14, (size[1] // cell + 1, size[0] // cell + 1))
        layers += np.kron(coarse, np.ones((cell, cell)))[: size[1], : size[0]]
    return Image.fromarray((np.array(colour) + layers[..., None]).clip(0, 255).astype(np.uint8))


def with_disc(
    ground: Image.Image,
    radius: float,
    colour: tuple[int, int, int] = (200, 40, 30),
    at: tuple[float, float] = (0.5, 0.5),
) -> Image.Image:
    """A round cap on a ground; `radius` is a share of the height, `at` the place of its middle in the frame."""
    photo = ground.copy()
    x, y, r = at[0] * photo.width, at[1] * photo.height, radius * photo.height
    ImageDraw.Draw(photo).ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return photo


def through_eyepiece(radius: float, surround: int = 6, at: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """Spores in a bright round field with a soft edge; `radius` is a share of the height."""
    photo = bright_field()
    mask = with_disc(Image.new("RGB", photo.size), radius, (255, 255, 255), at).convert("L")
    return Image.composite(
        photo, Image.new("RGB", photo.size, (surround,) * 3), mask.filter(ImageFilter.GaussianBlur(3))
    )


def bright_field() -> Image.Image:
    """Dark spores on an even ground that is lit from behind."""
    random = np.random.default_rng(1)
    photo = Image.new("RGB", (500, 375), (196, 184, 160))
    for x, y in random.uniform((0, 0), (500, 375), (30, 2)):
        ImageDraw.Draw(photo).ellipse((x - 9, y - 6, x + 9, y + 6), fill=(128, 96, 60))
    return photo.filter(ImageFilter.GaussianBlur(1.5))


def landscape() -> Image.Image:
    photo = textured(GRASS)
    photo.paste(Image.new("RGB", (500, 150), SKY).filter(ImageFilter.GaussianBlur(2)), (0, 0))
    return photo


def screenshot() -> Image.Image:
    photo = Image.new("RGB", (300, 500), (240, 240, 242))
    draw = ImageDraw.Draw(photo)
    draw.rectangle((0, 0, 300, 30), fill=(30, 60, 70))
    for row in range(50, 480, 36):
        draw.rectangle((12, row, 36, row + 24), fill=(60 + row % 90, 90, 40))
        draw.text((50, row + 6), "Amanita muscaria 12 km", fill=(20, 20, 20))
    return photo


class TestAnyPicture:
    @given(
        width=st.integers(1, 260),
        height=st.integers(1, 260),
        seed=st.integers(0, 2**32 - 1),
        levels=st.sampled_from([1, 2, 17, 256]),
        cell=st.sampled_from([1, 3, 40]),
    )
    def test_every_number_is_there_finite_and_in_its_range(
        self, width: int, height: int, seed: int, levels: int, cell: int
    ) -> None:
        random = np.random.default_rng(seed)
        cells = random.integers(0, levels, (height // cell + 1, width // cell + 1, 3)) * (255 // max(levels - 1, 1))
        pixels = np.kron(cells, np.ones((cell, cell, 1)))[:height, :width].astype(np.uint8)
        found = pixel_evidence(Image.fromarray(pixels))
        assert list(found) == NAMES
        assert np.isfinite(list(found.values())).all()
        assert 0 <= found["colourfulness"] <= 300
        assert 0 <= found["field_radius"] <= 40
        for name in set(NAMES) - {"colourfulness", "field_radius"}:
            assert 0 <= found[name] <= 1, name

    @pytest.mark.parametrize("level", [0, 128, 255])
    @pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2), (500, 375)])
    def test_one_even_grey_is_flat_and_nothing_else(self, level: int, size: tuple[int, int]) -> None:
        found = pixel_evidence(Image.new("RGB", size, (level,) * 3))
        assert found["flat"] == found["smooth"] == found["even_lines"] == 1
        nothing = ("sharpness", "in_focus", "contrast", "colourfulness", "strokes", "field_edge", "skin", "subject")
        assert {name: found[name] for name in (*nothing, "horizon", "vegetation", "sky")} == dict.fromkeys(
            (*nothing, "horizon", "vegetation", "sky"), 0
        )
        assert found["upright"] == 0.5

    def test_the_same_photo_gives_the_same_numbers_and_is_left_as_it_was(self) -> None:
        photo = landscape()
        before = photo.tobytes()
        assert pixel_evidence(photo) == pixel_evidence(photo.copy())
        assert photo.tobytes() == before

    def test_photos_of_one_size_measured_together_have_the_numbers_that_each_has_alone(self) -> None:
        photos = [
            landscape(),
            Image.new("RGB", (500, 375)),  # nothing of it is a patch
            through_eyepiece(0.4),
            bright_field(),
            through_eyepiece(0.35, surround=250),
            with_disc(textured(SOIL), 0.6, SKIN, at=(0.0, 0.5)),
            with_disc(textured(SOIL), 0.25),
        ]
        alone = [list(pixel_evidence(photo).values()) for photo in photos]
        for some in (slice(None), slice(None, None, -1), slice(1, 3)):
            together = measure(make_thumbnails([shrink(photo) for photo in photos[some]]))
            assert together.tolist() == alone[some]

    def test_a_number_has_three_decimals_and_no_minus_zero(self) -> None:
        for value in pixel_evidence(landscape()).values():
            assert value == round(value, 3)
            assert not str(value).startswith("-")

    @pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180])
    def test_a_mirrored_photo_shows_the_same(self, turn: Image.Transpose) -> None:
        photo = with_disc(textured(SOIL), 0.25, at=(0.4, 0.5))
        straight, mirrored = pixel_evidence(photo), pixel_evidence(photo.transpose(turn))
        for name in set(NAMES) - {"in_focus"}:  # its tiles begin at one corner
            assert mirrored[name] == pytest.approx(straight[name], abs=0.02), name

    def test_half_the_size_changes_numbers_little(self) -> None:
        photos = [with_disc(textured(SOIL), 0.25), landscape(), through_eyepiece(0.4), bright_field(), screenshot()]
        for photo in photos:
            whole = pixel_evidence(photo)
            half = pixel_evidence(photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX))
            for name in set(NAMES) - {"colourfulness", "in_focus"}:
                assert half[name] == pytest.approx(whole[name], abs=0.1), name
            assert half["colourfulness"] == pytest.approx(whole["colourfulness"], abs=2)


class TestFocus:
    def test_blur_lowers_sharpness_step_by_step(self) -> None:
        photo = with_disc(textured(SOIL), 0.25)
        sharpness = [
            pixel_evidence(photo.filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 2, 4, 8, 16)
        ]
        assert sharpness == sorted(sharpness, reverse=True)
        assert sharpness[0] > 0.75
        assert sharpness[2] < 0.7

    def test_a_sharp_mushroom_before_a_blurred_forest_is_sharp(self) -> None:
        photo = textured(SOIL)
        blurred = photo.filter(ImageFilter.GaussianBlur(8))
        close = blurred.copy()
        close.paste(photo.crop((150, 100, 330, 280)), (150, 100))
        assert pixel_evidence(close)["sharpness"] == pytest.approx(pixel_evidence(photo)["sharpness"], abs=0.05)
        assert pixel_evidence(blurred)["in_focus"] < pixel_evidence(close)["in_focus"] < 0.7
        assert pixel_evidence(photo)["in_focus"] > 0.9

    def test_motion_blur_counts_although_one_direction_stays_sharp(self) -> None:
        pixels = np.asarray(textured(SOIL)).astype(np.float64)
        moved = np.mean([np.roll(pixels, shift, axis=1) for shift in range(-8, 9)], axis=0)
        assert pixel_evidence(Image.fromarray(moved.astype(np.uint8)))["sharpness"] < 0.7

    def test_contrast_does_not_make_sharp(self) -> None:
        photo = textured((128, 128, 128))
        pale = Image.blend(photo, Image.new("RGB", photo.size, (128, 128, 128)), 0.5)
        assert pixel_evidence(pale)["sharpness"] == pytest.approx(pixel_evidence(photo)["sharpness"], abs=0.03)


class TestLightAndColour:
    def test_exposure_counts_what_is_black_and_white(self) -> None:
        photo = Image.new("RGB", (400, 400), "white")
        photo.paste((0, 0, 0), (0, 0, 100, 400))
        found = pixel_evidence(photo)
        assert found["dark"] == pytest.approx(0.25, abs=0.02)
        assert found["bright"] == pytest.approx(0.75, abs=0.02)
        assert found["lightness"] == pytest.approx(0.75, abs=0.01)
        assert found["contrast"] == 1

    def test_colourfulness_is_the_formula_of_the_paper(self) -> None:
        photo = Image.new("RGB", (192, 192), (255, 0, 0))
        photo.paste((0, 0, 255), (0, 0, 96, 192))
        # rg is 255 and 0, yb is 127.5 and -255: spread and mean of each by hand.
        expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
        assert pixel_evidence(photo)["colourfulness"] == pytest.approx(expected, rel=1e-3)

    def test_a_tint_that_is_the_same_everywhere_is_no_spread_of_colours(self) -> None:
        grey = np.random.default_rng(0).integers(0, 200, (160, 120, 1))
        found = pixel_evidence(Image.fromarray((grey + np.array([30, 0, 0])).astype(np.uint8)))
        assert found["colourfulness"] == pytest.approx(0.3 * np.hypot(30, 15), abs=0.5)


class TestGraphics:
    def test_a_screenshot_is_flatter_than_a_photo_and_has_strokes(self) -> None:
        drawn, taken = pixel_evidence(screenshot()), pixel_evidence(textured(SOIL))
        assert taken["flat"] < 0.1
        assert drawn["flat"] > 0.5
        assert taken["strokes"] < 0.01
        assert drawn["strokes"] > 0.1
        assert drawn["even_lines"] > 0.3 > taken["even_lines"]

    def test_a_cut_out_on_black_is_flat_with_a_subject(self) -> None:
        found = pixel_evidence(with_disc(Image.new("RGB", (500, 375)), 0.4))
        assert found["flat"] > 0.5
        assert found["subject"] == pytest.approx(np.pi * 0.4**2 * 375 / 500, abs=0.05)


class TestMicroscope:
    @pytest.mark.parametrize("radius", [0.3, 0.4, 0.48])
    @pytest.mark.parametrize("surround", [6, 250])
    @pytest.mark.parametrize("at", [(0.5, 0.5), (0.45, 0.52)])
    def test_a_round_field_is_found_with_its_radius(
        self, radius: float, surround: int, at: tuple[float, float]
    ) -> None:
        found = pixel_evidence(through_eyepiece(radius, surround, at))
        assert found["field_radius"] == pytest.approx(2 * radius, abs=0.06)
        assert found["field_edge"] > 0.75

    def test_a_field_that_the_frame_cuts_is_found_by_what_is_left_of_its_edge(self) -> None:
        found = pixel_evidence(through_eyepiece(0.58))
        assert found["field_radius"] == pytest.approx(1.16, abs=0.08)
        assert 0.25 <= found["field_edge"] < 0.9

    def test_landscapes_squares_and_mushrooms_at_night_have_no_field(self) -> None:
        square = Image.new("RGB", (500, 375))
        square.paste((200, 190, 170), (120, 60, 380, 320))
        mushroom = with_disc(Image.new("RGB", (500, 375)), 0.25, at=(0.5, 0.3))
        mushroom.paste((220, 210, 190), (225, 110, 275, 350))
        for photo in (landscape(), textured(SOIL), square, mushroom, screenshot()):
            assert pixel_evidence(photo)["field_radius"] == pixel_evidence(photo)["field_edge"] == 0

    def test_in_the_bright_field_nothing_is_brighter_than_the_ground(self) -> None:
        spores, cap = pixel_evidence(bright_field()), pixel_evidence(with_disc(textured(SOIL), 0.25, (235, 230, 220)))
        assert spores["brighter_than_ground"] == 0
        assert cap["brighter_than_ground"] > 0.2
        assert spores["ground_lightness"] == pytest.approx(0.72, abs=0.05)


class TestSkin:
    def test_a_finger_from_the_edge_is_skin_at_the_edge_and_a_brown_cap_in_the_middle_is_not(self) -> None:
        ground = textured(SOIL)
        finger = pixel_evidence(with_disc(ground, 0.5, SKIN, at=(0.0, 0.5)))
        cap = pixel_evidence(with_disc(ground, 0.25, SKIN))
        assert finger["skin_at_edge"] > 0.15
        assert cap["skin_at_edge"] < 0.01
        assert cap["skin"] > 0.1

    @pytest.mark.parametrize("colour", [(30, 18, 14), (170, 50, 35)])
    def test_a_finger_on_the_lens_is_dark_or_red_without_detail(self, colour: tuple[int, int, int]) -> None:
        ground = textured(SOIL)
        mask = with_disc(Image.new("RGB", ground.size), 0.6, (255, 255, 255), at=(1.0, 1.0)).convert("L")
        covered = Image.composite(
            Image.new("RGB", ground.size, colour), ground, mask.filter(ImageFilter.GaussianBlur(15))
        )
        assert pixel_evidence(covered)["lens_cover"] > 0.12
        assert pixel_evidence(ground)["lens_cover"] < 0.02

    @pytest.mark.parametrize("colour", [GRASS, SKY, (128, 128, 128), (0, 0, 0), (255, 255, 255)])
    def test_grass_sky_and_greys_are_no_skin(self, colour: tuple[int, int, int]) -> None:
        assert pixel_evidence(Image.new("RGB", (200, 200), colour))["skin"] == 0


class TestSubjectAndScenery:
    def test_the_subject_grows_with_the_mushroom(self) -> None:
        subject = [pixel_evidence(with_disc(textured(SOIL), radius))["subject"] for radius in (0.04, 0.1, 0.2, 0.35)]
        assert subject == sorted(subject)
        for radius, share in zip((0.04, 0.1, 0.2, 0.35), subject, strict=True):
            assert share == pytest.approx(np.pi * radius**2 * 375 / 500, abs=0.04)

    def test_a_landscape_has_sky_a_horizon_and_green(self) -> None:
        found = pixel_evidence(landscape())
        assert found["sky"] == pytest.approx(0.4, abs=0.05)
        assert found["horizon"] > 0.7
        assert found["vegetation"] == pytest.approx(0.6, abs=0.05)

    def test_a_table_of_the_sky_s_colour_is_no_sky(self) -> None:
        assert pixel_evidence(with_disc(Image.new("RGB", (500, 375), SKY), 0.2))["sky"] == 0

    def test_trunks_are_upright(self) -> None:
        stripes: NDArray[np.uint8] = np.zeros((375, 500, 3), np.uint8)
        stripes[:, (np.arange(500) // 20) % 2 == 0] = 180
        assert pixel_evidence(Image.fromarray(stripes))["upright"] == 1
        assert pixel_evidence(Image.fromarray(stripes).rotate(90, expand=True))["upright"] == 0

    @pytest.mark.parametrize("colour", [(200, 180, 40), (120, 80, 60), (200, 40, 30)])
    def test_yellow_brown_and_red_are_no_vegetation(self, colour: tuple[int, int, int]) -> None:
        assert pixel_evidence(Image.new("RGB", (200, 200), colour))["vegetation"] == 0


@pytest.fixture(scope="module")
def kinds(shared: Path) -> dict[str, list[dict[str, float]]]:
    """Numbers of up to fifteen photos of each kind, the first by id."""
    lines = (shared / "inat-mini" / "truth.csv").read_text(encoding="utf-8").splitlines()[1:]
    found: dict[str, list[dict[str, float]]] = {}
    for photo_id, _, kind, state in sorted(line.split(",") for line in lines):
        if state == "served" and len(found.setdefault(kind, [])) < 15:
            (file,) = (shared / "inat-mini" / "photos" / photo_id).glob("medium.*")
            found[kind].append(pixel_evidence(read_photo(file, 256)))
    return found


@pytest.mark.shared
class TestRealPhotos:
    @pytest.mark.parametrize(
        ("number", "most", "least"),
        [
            ("strokes", "screenshot", "ok"),
            ("even_lines", "screenshot", "microscopy"),
            ("dark", "drawing", "microscopy"),
            ("smooth", "microscopy", "ok"),
            ("contrast", "ok", "microscopy"),
            ("skin_at_edge", "hand", "ok"),
            ("vegetation", "scenery", "hand"),
        ],
    )
    def test_a_kind_has_more_of_its_number(
        self, kinds: dict[str, list[dict[str, float]]], number: str, most: str, least: str
    ) -> None:
        pairs = [(high[number], low[number]) for high in kinds[most] for low in kinds[least]]
        assert np.mean([(high > low) + (high == low) / 2 for high, low in pairs]) > 0.85
