"""The options form: what it shows and how it is read."""

from __future__ import annotations

import json

import pytest
from bs4 import BeautifulSoup

from skyport_core.wire import FlavorView
from skyport_spawner import form
from skyport_spawner.options import Limits, OptionError, Profile, UserOptions, parse


def flavor(site: str, name: str, **fields: object) -> FlavorView:
    return FlavorView.model_validate(
        {
            "site": site,
            "name": name,
            "description": "",
            "cpus": 4,
            "memory": 8192,
            "gpus": 0,
            "gpu_type": "",
            "price": None,
            "capacity": None,
            "available_nodes": None,
            "free_cpus": None,
            "free_memory": None,
            "free_gpus": None,
            **fields,
        }
    )


OFFERS = [
    flavor("lab", "small", free_cpus=3, free_memory=6144, free_gpus=0),
    flavor("lab", "busy", free_cpus=0, free_memory=0, free_gpus=0),
    flavor("cloud", "gpu", gpus=1, gpu_type="T4", price=0.526),
]


def page(limits: Limits | None = None, chosen: UserOptions | None = None):
    html = form.render(OFFERS, limits or Limits(), chosen or UserOptions())
    return BeautifulSoup(html, "html.parser")


def values(soup: BeautifulSoup, name: str) -> list[str]:
    return [str(option["value"]) for option in soup.select(f"select[name={name}] option")]


def test_it_offers_each_flavor_of_each_site_and_any():
    assert values(page(), "machine") == ["", "cloud/", "cloud/gpu", "lab/", "lab/small", "lab/busy"]


def test_it_says_size_price_and_what_is_free_now():
    text = page().get_text(" ", strip=True)
    assert "gpu: 4 CPUs, 8 GiB, 1 x T4, $0.526 per hour" in text
    assert "Free now for one server: 3 CPUs, 6 GiB" in text
    assert "All in use now" in text


def test_it_leaves_out_what_the_admin_does_not_allow():
    assert values(page(Limits(sites=("lab",))), "machine") == ["lab/", "lab/small", "lab/busy"]
    assert values(page(Limits(flavors=("cloud/gpu",))), "machine") == ["cloud/gpu"]


def test_it_preselects_the_last_choice():
    soup = page(chosen=parse({"site": "lab", "flavor": "small", "memory": "2G", "walltime": "4h"}))
    assert soup.select_one("select[name=machine] option[selected]")["value"] == "lab/small"
    assert soup.select_one("input[name=memory]")["value"] == "2"
    assert soup.select_one("select[name=walltime] option[selected]")["value"] == "14400"


def test_its_times_end_at_the_limit():
    assert values(page(Limits(walltime=5400)), "walltime") == ["1800", "3600", "5400"]


def test_every_field_has_a_label():
    soup = page()
    for field in soup.select("select, input:not([type=hidden])"):
        assert soup.select_one(f"label[for={field['id']}]") is not None


def test_an_outage_is_said_plainly_and_the_form_still_works():
    soup = BeautifulSoup(form.render([], Limits(), UserOptions(), outage="Away."), "html.parser")
    assert "Away." in soup.select_one("[role=alert]").get_text()
    assert soup.select_one("select[name=walltime]") is not None


def test_profiles_take_the_place_of_all_other_fields():
    profile = Profile(name="small", title="A small one", description="for all")
    soup = page(Limits(profiles=(profile,)))
    assert [field["name"] for field in soup.select("input, select")] == ["profile"]
    assert soup.select_one("input[checked]")["value"] == "small"


def test_names_from_sites_are_escaped():
    html = form.render([flavor("lab", "<b>", description="<i>")], Limits(), UserOptions())
    assert "<b>" not in html
    assert "<i>" not in html


def test_what_it_offers_reads_back_as_options():
    sent = {"machine": ["lab/small"], "memory": ["2"], "memory_unit": ["G"], "cpus": [""]}
    assert form.read(sent) == UserOptions(site="lab", flavor="small", memory=2048)
    assert form.read({"machine": ["lab/"]}) == UserOptions(site="lab")
    assert form.read({"machine": [""]}) == UserOptions()


def test_a_query_string_uses_the_options_own_names():
    assert form.read({"site": ["lab"], "memory": ["4G"]}) == UserOptions(site="lab", memory=4096)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"machine": ["lab"]}, "machine"),
        ({"machine": ["lab/small"], "site": ["cloud"]}, "site"),
        ({"cpus": ["1", "2"]}, "cpus"),
        ({"shell": ["rm"]}, "shell"),
    ],
)
def test_a_form_that_was_tampered_with_is_refused(sent: dict[str, list[str]], field: str):
    with pytest.raises(OptionError) as caught:
        form.read(sent)
    assert caught.value.field == field


CLOUD = [
    flavor(
        "azure",
        "Standard_D4s_v5",
        region=region,
        price=price,
        spot=True,
        spot_price=price / 5,
        suspendable=True,
    )
    for region, price in (("northeurope", 0.214), ("westeurope", 0.23))
]


def cloud_page(limits: Limits | None = None, chosen: UserOptions | None = None, **more: object):
    html = form.render(CLOUD, limits or Limits(), chosen or UserOptions(), **more)
    return BeautifulSoup(html, "html.parser")


def test_a_flavor_of_several_regions_is_one_line_with_the_lowest_price():
    soup = cloud_page()
    assert values(soup, "machine") == ["", "azure/", "azure/Standard_D4s_v5"]
    text = soup.get_text(" ", strip=True)
    assert "from $0.214 per hour" in text
    assert "As a spot machine from $0.0428 per hour" in text
    assert values(soup, "region") == ["", "northeurope", "westeurope"]


def test_the_cost_of_each_region_goes_to_the_page():
    option = cloud_page().select_one("option[value='azure/Standard_D4s_v5']")
    regions = json.loads(str(option["data-regions"]))
    assert regions[1] == {"name": "westeurope", "price": 0.23, "spot": pytest.approx(0.046)}


def test_spot_and_kept_machines_are_offered_only_where_they_exist_and_are_allowed():
    assert values(cloud_page(), "spot") == ["", "yes", "any"]
    assert cloud_page().select_one("input[name=keep]") is not None
    strict = cloud_page(Limits(spot=False, keep=False))
    assert values(strict, "spot") == []
    assert strict.select_one("input[name=keep]") is None
    assert values(page(), "region") == []


def test_what_costs_more_than_allowed_is_not_shown():
    assert values(cloud_page(Limits(price=0.1, spot=False)), "machine") == [""]
    assert "azure/Standard_D4s_v5" in values(cloud_page(Limits(price=0.1)), "machine")


def test_many_machines_can_be_searched():
    many = [flavor("azure", f"size{number}", price=1.0) for number in range(30)]
    html = form.render(many, Limits(), UserOptions())
    assert BeautifulSoup(html, "html.parser").select_one("input[type=search]") is not None
    assert page().select_one("input[type=search]") is None


def test_the_image_is_asked_for_when_there_are_several():
    soup = cloud_page(images=("debian-12", "gpu"), chosen=UserOptions(image="gpu"))
    assert values(soup, "image") == ["", "debian-12", "gpu"]
    assert soup.select_one("select[name=image] option[selected]")["value"] == "gpu"
    assert values(cloud_page(images=("debian-12",)), "image") == []


def test_region_spot_and_keep_read_back_as_options():
    sent = {"machine": ["azure/D4"], "region": ["westeurope"], "spot": ["any"], "keep": ["yes"]}
    assert form.read(sent) == UserOptions(
        site="azure", flavor="D4", region="westeurope", spot="any", keep=True
    )
    assert form.read({"machine": [""], "region": [""], "spot": [""]}) == UserOptions()
