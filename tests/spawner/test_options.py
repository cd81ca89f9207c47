"""What users may ask for: forms of values, limits, profiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyport_spawner.options import Limits, OptionError, Profile, UserOptions, parse, resolve

FIELDS = list(UserOptions.model_fields)
SMALL = Profile(name="small", options=UserOptions(cpus=1, memory=2048))
LARGE = Profile(name="large", groups=frozenset({"lab"}), options=UserOptions(cpus=8))


def test_nothing_is_a_valid_request():
    assert resolve(parse({}), Limits()) == UserOptions()


def test_empty_texts_count_as_left_out():
    assert parse({"site": "", "cpus": " ", "memory": None}) == UserOptions()


@pytest.mark.parametrize(
    ("given", "mebibytes"),
    [(512, 512), ("512", 512), ("4G", 4096), ("1.5 GiB", 1536), ("2048K", 2), ("1t", 2**20)],
)
def test_memory_is_read_in_mebibytes(given: object, mebibytes: int):
    assert parse({"memory": given}).memory == mebibytes


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(90, 90), ("90", 90), ("90m", 5400), ("8h", 28800), ("2d", 172800), ("1:30:00", 5400)],
)
def test_walltime_is_read_in_seconds(given: object, seconds: int):
    assert parse({"walltime": given}).walltime == seconds


def test_an_unknown_option_is_refused_with_the_names_of_all():
    with pytest.raises(OptionError, match=r"no option 'ram'.*site, flavor, cpus, memory") as caught:
        parse({"ram": "4G"})
    assert caught.value.field == "ram"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cpus", 0),
        ("cpus", "many"),
        ("cpus", True),
        ("cpus", float("nan")),
        ("memory", "4 apples"),
        ("memory", -1),
        ("gpus", 1.5),
        ("walltime", "soon"),
        ("site", "../etc"),
        ("site", {"a": 1}),
        ("flavor", "a\nb"),
    ],
)
def test_a_value_that_is_none_is_refused_with_its_name_and_value(field: str, value: object):
    with pytest.raises(OptionError) as caught:
        parse({field: value})
    assert caught.value.field == field
    assert caught.value.message.startswith(f"Option {field}={value!r} is not valid: ")


@given(
    st.dictionaries(
        st.text(max_size=10),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists),
    )
)
def test_whatever_is_asked_for_is_either_valid_or_refused_by_name(raw: dict[str, object]):
    try:
        parse(raw)
    except OptionError as error:
        assert error.field in raw


@pytest.mark.parametrize(
    ("options", "limits", "message"),
    [
        ({"cpus": 9}, Limits(cpus=8), "cpus=9 is not allowed: at most 8"),
        ({"memory": 4096}, Limits(memory=2048), "memory=4096 is not allowed: at most 2048 MiB"),
        ({"gpus": 1}, Limits(gpus=0), "gpus=1 is not allowed: at most 0"),
        ({"walltime": 7200}, Limits(walltime=3600), "at most 3600 seconds"),
        ({"site": "b"}, Limits(sites=("a", "c")), "Site 'b' is not allowed: choose a or c"),
        ({"flavor": "big"}, Limits(flavors=("small",)), "Flavor 'big' is not allowed"),
        ({"profile": "x"}, Limits(), "no profile 'x'"),
        ({"profile": "large"}, Limits(profiles=(SMALL,)), "no profile 'large'.*: small"),
        ({"cpus": 2}, Limits(profiles=(SMALL,)), "'small' sets cpus to 1.*cannot be 2"),
    ],
)
def test_limits_are_named_when_they_are_passed(
    options: dict[str, object], limits: Limits, message: str
):
    with pytest.raises(OptionError, match=message):
        resolve(parse(options), limits)


def test_the_first_allowed_site_and_flavor_are_the_defaults():
    limits = Limits(sites=("a", "b"), flavors=("b/small", "a/large"))
    assert resolve(parse({"site": "a"}), limits).flavor == "large"
    chosen = resolve(parse({}), limits)
    assert (chosen.site, chosen.flavor) == ("b", "small")


def test_no_time_asked_for_means_the_default_within_the_limit():
    assert resolve(parse({}), Limits(default_walltime=60)).walltime == 60
    assert resolve(parse({}), Limits(walltime=600)).walltime == 600
    assert resolve(parse({}), Limits(walltime=600, default_walltime=900)).walltime == 600


def test_a_profile_gives_its_options_and_the_first_is_the_default():
    chosen = resolve(parse({}), Limits(profiles=(SMALL, LARGE)))
    assert (chosen.profile, chosen.cpus, chosen.memory) == ("small", 1, 2048)


def test_what_was_chosen_reads_back_as_the_same():
    options = parse({"site": "lab", "cpus": "2", "memory": "4G", "walltime": "8h"})
    assert parse(options.chosen()) == options


@pytest.mark.parametrize(
    ("given", "spot"), [(True, "yes"), ("false", "no"), ("Any", "any"), ("yes", "yes")]
)
def test_spot_is_read_as_no_yes_or_any(given: object, spot: str):
    assert parse({"spot": given}).spot == spot


def test_keep_is_read_as_a_checkbox_sends_it():
    assert parse({"keep": "on"}).keep is True
    assert parse({"keep": "0"}).keep is False


@pytest.mark.parametrize(
    ("asked", "limits", "field"),
    [
        ({"spot": "any"}, Limits(spot=False), "spot"),
        ({"keep": True}, Limits(keep=False), "keep"),
        ({"max_price": 2}, Limits(price=1.0), "max_price"),
    ],
)
def test_what_costs_money_has_limits(asked: dict[str, object], limits: Limits, field: str):
    with pytest.raises(OptionError) as caught:
        resolve(parse(asked), limits)
    assert caught.value.field == field


def test_the_highest_price_allowed_holds_for_those_who_name_none():
    assert resolve(parse({}), Limits(price=0.5)).max_price == 0.5
    assert resolve(parse({"max_price": 0.2}), Limits(price=0.5)).max_price == 0.2
