"""CSV exports as providers write them, and as spreadsheets do."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.accounting.comparing import Consumption
from polyroute.accounting.exports import read_export

FILES = {
    "plain": "date,model,requests,input_tokens,output_tokens,cost_usd\n2026-11-20,m,3,100,20,0.5\n",
    "semicolons": "Datum\n",
    "signs": '\ufeffDate;Model Name;Requests;Prompt Tokens;Completion Tokens;Cost (USD)\n20.11.2026;m;3;100;20;"$0,50"\n',
    "tabs": "timestamp\tmodel\tcount\ttokens_prompt\ttokens_completion\ttotal_cost\n1795132800\tm\t3\t100\t20\t0.5\n",
    "zone": "created_at,model,num_requests,prompt_tokens,completion_tokens,usage\n"
            "2026-11-21T00:30:00+02:00,m,3,100,20,0.50\n",
    "anthropic": "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
                 "usage_input_tokens_cache_read,usage_output_tokens,requests,cost_usd\n2026-11-20,m,60,30,10,20,3,0.5\n",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FILES if name != "semicolons"])
def test_columns_are_known_by_many_names(name: str) -> None:
    assert read_export(FILES[name]) == [
        Consumption(
            day="2026-11-20", model="m", requests=3, input_tokens=100, output_tokens=20, cost_usd=Decimal("0.5")
        )
    ]


def test_a_row_of_one_request_has_its_id() -> None:
    [row] = read_export("id,created_at,model,cost\ngen-1,2026-11-20 10:00:00,m,0.1\n\n")
    assert (row.id, row.requests, row.cost_usd) == ("gen-1", 1, Decimal("0.1"))


def test_columns_can_be_named() -> None:
    text = "When,Which,Billed\n2026-11-20,m,1.5\n"
    with pytest.raises(ValueError, match=r"no column for day, model, cost .*When, Which, Billed.*--column day=NAME"):
        read_export(text)
    [row] = read_export(text, {"day": "when", "model": "Which", "cost": "Billed"})
    assert row.cost_usd == Decimal("1.5")
    with pytest.raises(ValueError, match="no column 'Nope'; there are When"):
        read_export(text, {"day": "Nope"})
    with pytest.raises(ValueError, match="no such kind of column: colour; there are day"):
        read_export(text, {"colour": "When"})


def test_a_line_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="line 3 cannot be read: 'soon' is no date"):
        read_export("date,model,cost\n2026-11-20,m,1\nsoon,m,1\n")


@pytest.mark.parametrize("text", ["", "\n", "a\n1\n"])
def test_a_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no column for"):
        read_export(text)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("$1,234.50", "1234.50"),
        ("1.234,5 €", "1234.5"),
        ("0,12", "0.12"),
        ("-0.5", "-0.5"),
        ("1,234", "1234"),
        ("1e-7", "1e-7"),
    ],
)
def test_amounts_are_read_as_people_write_them(written: str, amount: str) -> None:
    [row] = read_export(f"date;model;cost\n2026-11-20;m;{written}\n")
    assert row.cost_usd == Decimal(amount)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_rows_or_a_value_error_that_names_the_line(text: str) -> None:
    rows, refused = [], "line"
    try:
        rows = read_export("date,model,cost\n" + text)
    except ValueError as error:
        refused = str(error)
    assert "line" in refused
    assert all(len(row.day) == 10 for row in rows)
