"""The page about job scripts names all that there is."""

from __future__ import annotations

from skyport_core.jobscript.slurm_options import KNOWN, SHORT
from skyport_core.jobscript.swm import RULES
from tests.infra.pages import page


def test_every_directive_of_both_dialects_is_described() -> None:
    text = page("job-scripts.md").path.read_text()
    ours, slurm = text.split("## `#SBATCH`")

    assert [name for name in RULES if f"`{name}`" not in ours] == []
    assert [name for name in KNOWN if f"`--{name}" not in slurm] == []
    assert [letter for letter in SHORT if f"`-{letter}`" not in slurm] == []
