"""Whatever a script holds, it is a job that can be stored, or an error in words."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from skyport_core.jobscript import ScriptError
from skyport_core.jobscript.slurm_options import KNOWN, SHORT
from skyport_core.jobscript.swm import RULES
from skyport_core.wire import JobRequest, OfferRequest

from .scripts import complete

EXAMPLES = int(os.environ.get("SKYPORT_FUZZ_EXAMPLES", "150"))

ODD = (
    "\0",
    "\r",
    "\ufeff",
    "\u2028",
    "\x85",
    "\xa0",
    "\ud7ff",
    "\U0001f680",
    "'",
    '"',
    "\\",
    "#",
    "%",
    "..",
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="0123456789.:-/,%=MGTmhd", max_size=30),
    st.integers(min_value=-(10**30), max_value=10**30).map(str),
    st.sampled_from(
        (*ODD, "8888/tcp/in", "8081/tcp/out", "A=1", "no", "~/a b", "1-2:3:4", "9" * 400)
    ),
    st.sampled_from(("afterok:6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a01", "0-9%2", "gpu:a100:2", "4G")),
)
SWM = st.tuples(
    st.sampled_from(("#SWM", " #SWM", "#SWM\t")), st.sampled_from(sorted(RULES)), VALUES
)
SBATCH = st.one_of(
    st.tuples(st.sampled_from(sorted(KNOWN)), st.sampled_from("= "), VALUES).map(
        lambda parts: f"#SBATCH --{''.join(parts)}"
    ),
    st.tuples(st.sampled_from(sorted(SHORT)), st.sampled_from(("", " ")), VALUES).map(
        lambda parts: f"#SBATCH -{''.join(parts)}"
    ),
)
LINES = st.one_of(
    SWM.map(" ".join),
    SBATCH,
    st.text(max_size=60),
    VALUES.map(lambda value: f"#SWM {value}"),
    VALUES.map(lambda value: f"#SBATCH {value}"),
    st.just("#SWM submission-address hub.example.org"),
)
HEADS = st.sampled_from(("#!/bin/sh",) * 8 + ("#! /usr/bin/env bash", "#!", "", "\ufeff#!/bin/sh"))
ENDS = st.sampled_from(("\n",) * 6 + ("\r\n", "\r"))
SCRIPTS = st.tuples(HEADS, st.lists(LINES, min_size=1, max_size=6), ENDS).map(
    lambda parts: parts[2].join((parts[0], *parts[1]))
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("mine"),
        "port": st.just(80),
        "variables": st.just({"A": "1"}),
        "inputs": st.just(("x",)),
        "stderr": st.just("err"),
    },
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SCRIPTS, REQUESTS, st.sampled_from((None, "192.0.2.7", "2001:db8::1")))
def test_any_text_becomes_a_valid_request_or_an_error_in_words(
    text: str, given_fields: dict[str, object], peer: str | None
) -> None:
    for model in (JobRequest, OfferRequest):
        try:
            request = model(script=text, **given_fields)
        except ValidationError:
            return
        try:
            whole = complete(request, peer=peer, sites=("gpu:a100:2", "no"))
        except ScriptError as error:
            assert 0 < len(str(error)) < 2000
            continue
        again = model.model_validate_json(whole.model_dump_json())
        assert again.model_dump() == whole.model_dump()
        assert complete(whole, peer=peer) == whole
        for name, value in given_fields.items():
            if name != "variables":
                assert getattr(whole, name) == value
