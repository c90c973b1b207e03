"""The page about reliability tells every fault of the suite, as the suite holds it."""

from __future__ import annotations

from scripts.faults_table import BEGIN, END, HEAD, PAGE, make_table
from tests.faults.catalog import FAULTS


def test_the_page_has_every_fault_with_its_answer() -> None:
    """The table has the suite's faults and no others, with the statuses that the suite holds."""
    table = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    told = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table[2:]]
    assert [(*cells[:3], cells[4]) for cells in told] == [
        (fault.where, fault.name, fault.answers_in_words, fault.ready) for fault in FAULTS
    ]


def test_the_table_of_a_run() -> None:
    """A row says what was left behind and for how long, and short times as what they are at most."""
    seen = {"where": "LiveKit", "fault": "reset", "answer": "500", "seconds": 0.012, "ready": "down"}
    rows = [
        {**seen, "left": 0, "left_s": 0.01, "recovered_s": 0.5},
        {**seen, "left": 2, "left_s": 1.23, "recovered_s": 0.01},
    ]
    assert make_table(rows).splitlines() == [
        HEAD,
        "|---|---|---|---|---|---|---|",
        "| LiveKit | reset | 500 | 0.1 s | down | nothing | 0.5 s |",
        "| LiveKit | reset | 500 | 0.1 s | down | 2 rooms, deleted within 1.2 s | 0.1 s |",
    ]
