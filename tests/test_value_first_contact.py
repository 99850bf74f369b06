"""First contact resolution on contacts counted by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cxroi.scores import csat_interval
from cxroi.tables import read_tables
from cxroi.value.first_contact import NO_FAILED, NO_TOUCHES, TOO_FRESH, FirstContacts, first_contacts

CONFIG = "currency: VND\nmargin_rate: 0.3\nretention: {rule: repurchase, window_days: 90}\n"


def company(folder: Path, touches: pd.DataFrame | None, exposures: pd.DataFrame | None = None) -> Path:
    """Twenty customers with an order at the end of June 2026, and the given contacts."""
    folder.mkdir()
    ids = [f"K{number:02d}" for number in range(20)]
    pd.DataFrame({"customer_id": ids, "joined_on": "2025-01-01"}).to_csv(folder / "customers.csv", index=False)
    orders = {"transaction_id": range(20), "customer_id": ids, "occurred_at": "2026-06-30", "amount": 100}
    pd.DataFrame(orders).to_csv(folder / "transactions.csv", index=False)
    answers = {"response_id": range(20), "customer_id": ids, "metric": "nps", "score": 8, "answered_at": "2026-01-05"}
    pd.DataFrame(answers).to_csv(folder / "surveys.csv", index=False)
    if touches is not None:
        touches.to_csv(folder / "touches.csv", index=False)
    if exposures is not None:
        exposures.to_csv(folder / "exposures.csv", index=False)
        initiative = {
            "initiative_id": ["P1"],
            "name": ["Pilot"],
            "intent": ["x"],
            "touchpoint": ["support"],
            "starts_on": ["2026-04-01"],
        }
        pd.DataFrame(initiative).to_csv(folder / "initiatives.csv", index=False)
    (folder / "dataset.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def contacts(rows: list[tuple[str, str, bool | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "failed"])
    return frame.assign(touchpoint="support", initiated_by="customer")


def test_counted_by_hand(tmp_path: Path) -> None:
    """Ten contacts of nine customers: two failed; one came back within seven days, another after eight; the last is too fresh."""
    rows: list[tuple[str, str, bool | None]] = [(f"K{number:02d}", "2026-05-10", False) for number in range(6)]
    rows += [("K00", "2026-05-16", False), ("K01", "2026-05-18", False)]  # six and eight days later
    rows += [("K06", "2026-05-10", True), ("K07", "2026-05-10", True), ("K08", "2026-06-28", False)]
    found = first_contacts(read_tables(company(tmp_path / "c", contacts(rows))))
    assert isinstance(found, FirstContacts)
    row = found.tidy().iloc[0]
    assert (row["touchpoint"], row["period"], row["contacts"], row["customers"]) == ("support", "2026Q2", 10, 8)
    assert row["failed"] == pytest.approx(2 / 10)
    assert row["resolved"] == pytest.approx(7 / 10)  # neither failed nor K00's first one
    plain = csat_interval(7, 10)
    assert row["resolved_conf_low"] <= float(plain.conf_low) + 1e-12  # customers who came back do not narrow it
    assert found.glance()["contacts"].iloc[0] == 10


def test_arms_of_a_pilot_from_the_exposure_on(tmp_path: Path) -> None:
    rows: list[tuple[str, str, bool | None]] = [(f"K{number:02d}", "2026-03-01", True) for number in range(12)]
    rows += [(f"K{number:02d}", "2026-05-01", number in (0, 6, 7)) for number in range(12)]
    arms = {
        "initiative_id": "P1",
        "customer_id": [f"K{number:02d}" for number in range(12)],
        "exposed_on": "2026-04-01",
    }
    exposures = pd.DataFrame(arms).assign(arm=["treated"] * 6 + ["control"] * 6)
    found = first_contacts(read_tables(company(tmp_path / "c", contacts(rows), exposures)))
    assert isinstance(found, FirstContacts)
    by_arm = found.tidy().query("arm != ''").set_index("arm")
    assert by_arm.loc["treated", "failed"] == pytest.approx(1 / 6)
    assert by_arm.loc["control", "failed"] == pytest.approx(2 / 6)


def test_few_customers_are_hidden_and_never_alone(tmp_path: Path) -> None:
    frame = contacts([(f"K{number:02d}", "2026-05-01", False) for number in range(18)])
    frame.loc[:3, "touchpoint"] = "branch"  # four customers
    found = first_contacts(read_tables(company(tmp_path / "c", frame)))
    assert isinstance(found, FirstContacts)
    table = found.tidy()
    assert table["suppressed"].tolist() == [True, True]
    assert table[["contacts", "customers", "failed", "resolved"]].isna().all(axis=None)


def test_reasons(tmp_path: Path) -> None:
    assert first_contacts(read_tables(company(tmp_path / "none", None))) == NO_TOUCHES
    without = contacts([("K00", "2026-05-01", False)]).drop(columns="failed")
    assert first_contacts(read_tables(company(tmp_path / "unknown", without))) == NO_FAILED
    fresh = contacts([(f"K{number:02d}", "2026-06-29", False) for number in range(9)])
    assert first_contacts(read_tables(company(tmp_path / "fresh", fresh))) == TOO_FRESH
