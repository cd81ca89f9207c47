"""Options of the core that say how much jobs and their owners may take."""

from __future__ import annotations

from traitlets import HasTraits, Int


class LimitTraits(HasTraits):
    """The part of the core's configuration that is about the size of jobs."""

    max_jobs = Int(
        20_000,
        min=0,
        help="""
        Jobs that have not ended which one owner may have. 0: any number. Does not hold for what
        admins submit.
        """,
    ).tag(config=True)

    max_output = Int(10 * 2**30, min=1, help="Bytes of results that one job may bring home.").tag(
        config=True
    )

    max_output_files = Int(
        100_000,
        min=1,
        help="""
        Files and folders that may be where the results of one job are looked for; of more, none
        come home.
        """,
    ).tag(config=True)

    max_log = Int(
        256 * 2**20,
        min=2**10,
        help="Bytes of each log of a job that come home; of a longer one, the middle is left out.",
    ).tag(config=True)

    max_input = Int(
        10 * 2**30, min=0, help="Bytes that the uploaded inputs of one job may have together."
    ).tag(config=True)

    max_inputs_total = Int(
        100 * 2**30,
        min=0,
        help="""
        Bytes that the uploaded inputs of all jobs of one owner that have not ended may have
        together. 0: no limit.
        """,
    ).tag(config=True)

    max_outputs_total = Int(
        100 * 2**30,
        min=0,
        help="""
        Bytes of results and logs that all jobs on record of one owner may have at the core. When a
        job ends and there is no room for its results, they stay behind; an event says so. 0: no
        limit.
        """,
    ).tag(config=True)

    max_stored_total = Int(
        2**30,
        min=0,
        help="""
        Bytes that all jobs on record of one owner may take in the database: what they ask for,
        scripts, and the environment and files that they were submitted with. 0: no limit. Does
        not hold for what admins submit.
        """,
    ).tag(config=True)
