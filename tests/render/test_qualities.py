import pytest

from blender_scenes.spec import RenderSettings
from render.farm.jobs import DatasetConfig
from render.qualities import QUALITIES, quality_settings
from vosforge import InputError
from vosforge.config import read_config


@pytest.mark.parametrize("name", QUALITIES)
def test_a_quality_is_the_same_as_a_name_and_as_settings(name):
    named = RenderSettings(**QUALITIES[name])
    begun = DatasetConfig(render=RenderSettings(samples=5, max_bounces=7))
    read = read_config(DatasetConfig, None, quality_settings(name), begun).render
    assert {key: getattr(read, key) for key in QUALITIES[name]} == {key: getattr(named, key) for key in QUALITIES[name]}
    assert (read.width, read.height, read.frames) == (768, 512, 160)


def test_standard_is_what_a_data_set_has_unless_it_says_otherwise():
    assert DatasetConfig().render == RenderSettings(**QUALITIES["standard"])


def test_an_unknown_quality_is_named():
    with pytest.raises(InputError, match="unknown quality 'best'; known: reference, standard, fast, labels"):
        quality_settings("best")
