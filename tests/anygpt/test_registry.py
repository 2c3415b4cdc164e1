from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from anygpt import registry as registry_module
from anygpt.errors import MissingExtraError, RegistryError
from anygpt.registry import Registry
from backbone import BACKBONES
from encoders import ENCODERS
from generators import GENERATORS
from projectors import INPUT_PROJECTORS, OUTPUT_PROJECTORS

GROUP = "anygpt.colours"


@pytest.fixture
def registry() -> Registry:
    return Registry("colour", GROUP, {"rgb": "colorsys:rgb_to_hsv", "lost": "no_such_package.colours:Lost"})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package brings entries."""
    points = EntryPoints(
        [
            EntryPoint("hls", "colorsys:rgb_to_hls", GROUP),
            EntryPoint("rgb", "colorsys:hsv_to_rgb", GROUP),
            EntryPoint("nested", "collections:OrderedDict.fromkeys", GROUP),
            EntryPoint("typo", "colorsys:rgb_to_nothing", GROUP),
        ]
    )
    monkeypatch.setattr(registry_module, "entry_points", lambda **chosen: points.select(**chosen))


def test_registry_resolves_lazily_by_name(registry):
    import colorsys

    assert registry.resolve("rgb") is colorsys.rgb_to_hsv
    assert "no_such_package" not in sys.modules


def test_registry_unknown_name_lists_the_names_there_are(registry):
    with pytest.raises(RegistryError) as caught:
        registry.resolve("cmyk")
    assert str(caught.value) == "no colour is called 'cmyk'; there are: lost, rgb"


def test_registry_missing_package_says_what_to_install(registry):
    with pytest.raises(MissingExtraError) as caught:
        registry.resolve("lost")
    assert str(caught.value) == (
        "colour 'lost' needs the package 'no_such_package', which is missing; pip install no_such_package"
    )


@pytest.mark.usefixtures("installed")
def test_registry_takes_entry_points_of_other_packages(registry):
    import collections
    import colorsys

    assert registry.names() == ["hls", "lost", "nested", "rgb", "typo"]
    assert registry.resolve("hls") is colorsys.rgb_to_hls
    assert registry.resolve("nested") == collections.OrderedDict.fromkeys


@pytest.mark.usefixtures("installed")
def test_registry_builtin_names_cannot_be_taken_over(registry):
    import colorsys

    assert registry.resolve("rgb") is colorsys.rgb_to_hsv


@pytest.mark.usefixtures("installed")
def test_registry_entry_that_names_nothing_is_one_line(registry):
    with pytest.raises(RegistryError, match="colour 'typo': 'colorsys:rgb_to_nothing' names nothing that is there"):
        registry.resolve("typo")


@pytest.mark.parametrize("registry", [ENCODERS, INPUT_PROJECTORS, OUTPUT_PROJECTORS, BACKBONES, GENERATORS])
def test_every_registered_part_resolves_to_a_class_with_a_config(registry):
    assert registry.names()
    for name in registry.names():
        part = registry.resolve(name)
        assert part.Config
        assert getattr(part.Config, "__dataclass_fields__", {})["name"].default == name
