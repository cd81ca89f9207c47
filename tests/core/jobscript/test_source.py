"""The text of scripts."""

from __future__ import annotations

import pytest

from skyport_core.jobscript import ScriptError, read
from skyport_core.wire import JobRequest

from .scripts import complete


def test_a_dos_file_is_run_with_unix_line_ends() -> None:
    request = JobRequest(script="#!/bin/sh\r\n#SWM name x\r\n#SBATCH -c2\r\ndate\r\n")

    whole = complete(request, peer=None)

    assert (whole.name, whole.cpus) == ("x", 2)
    assert whole.script == "#!/bin/sh\n#SWM name x\n#SBATCH -c2\ndate\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date\n", "line 1: 'date': a script begins with '#!'"),
        ("\n#!/bin/sh\n", "line 1: '': a script begins with '#!'"),
        ("#!\n", "begins with '#!' and the path of its interpreter"),
        ("#!bash\n", "begins with '#!' and the path of its interpreter"),
        ("\ufeff#!/bin/sh\n", "line 1: a byte order mark"),
        ("#!/bin/sh\r#SWM name x\r", "end with CR alone"),
        ("#!/bin/sh\ndate\n\0\n", "line 3: a NUL byte"),
        ("x" * 10_000, "…': a script begins"),
    ],
)
def test_a_script_that_no_node_could_run_is_refused(text: str, says: str) -> None:
    with pytest.raises(ScriptError) as caught:
        read(text)

    assert says in str(caught.value)


def test_only_line_feeds_end_lines() -> None:
    found = read("#!/bin/sh\necho '\u2028#SWM name x\x0b#SWM gpus 1\x0c'\n#SWM comment größe\n")

    assert dict(found.fields) == {"comment": "größe"}


def test_a_message_repeats_only_the_beginning_of_what_is_long() -> None:
    with pytest.raises(ScriptError) as caught:
        read("#!/bin/sh\n#SWM walltime " + "9" * 1_000_000)

    assert len(str(caught.value)) < 400


def test_sixteen_megabytes_of_script_are_read_in_a_moment() -> None:
    filler = "# SWM comment\necho 1\n" * 700_000

    assert read(f"#!/bin/sh\n{filler}#SWM name last\n").fields["name"] == "last"
