"""Shop orders, houses, churn, bank statements, library loans, time sheets."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.strangers.stranger import Stranger, divided, german, without, written

_TEST = 400


def _flags(probability: np.ndarray, rng: np.random.Generator, yes: str = "yes", no: str = "no") -> np.ndarray:
    return np.where(rng.random(len(probability)) < probability, yes, no).astype(object)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def shop_orders(folder: Path, rng: np.random.Generator) -> Stranger:
    """A German export: semicolons, decimal commas, cp1252, dates 31.12.2024; few orders are returned."""
    n = 2400
    kind = rng.choice(["Schuhe", "Hosen", "Jacken", "Gürtel", "Mützen"], n, p=[0.35, 0.3, 0.2, 0.1, 0.05])
    price = np.round(np.exp(rng.normal(3.8, 0.6, n)), 2)
    discount = rng.choice([0, 5, 10, 20, 50], n, p=[0.6, 0.15, 0.1, 0.1, 0.05]).astype(float)
    day = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D")
    score = -3 + 1.6 * np.isin(kind, ["Schuhe", "Hosen"]) + 0.9 * (price > 60) - 0.03 * discount
    score += 1.2 * (np.asarray(day.month) == 12)
    frame = pd.DataFrame(
        {
            "Bestellnr": [f"B-{i:06d}" for i in rng.permutation(n)],
            "Datum": day,
            "Warengruppe": kind.astype(object),
            "Preis": price,
            "Rabatt": without(discount, 0.05, rng),
            "zurück": _flags(_sigmoid(score), rng, "ja", "nein"),
        }
    )
    train, test = divided(frame, _TEST)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        return {
            "Bestellnr": list(part["Bestellnr"]),
            "Datum": list(part["Datum"].dt.strftime("%d.%m.%Y")),
            "Warengruppe": list(part["Warengruppe"]),
            "Preis": [f"{german(value)} €" for value in part["Preis"]],
            "Rabatt": ["k.A." if np.isnan(value) else f"{value:g} %" for value in part["Rabatt"]],
            "zurück": list(part["zurück"]),
        }

    written(folder / "bestellungen.csv", cells(train), ";", "cp1252", newline="\r\n")
    unlabelled = cells(test)
    del unlabelled["zurück"]
    written(folder / "neue.csv", unlabelled, ";", "cp1252", newline="\r\n")
    return Stranger("bestellungen.csv", "neue.csv", "zurück", train.drop(columns="Bestellnr"), test)


def houses(folder: Path, rng: np.random.Generator) -> Stranger:
    """Prices with thousands separators, strongly skewed; a year, areas with gaps, districts of very different size."""
    n = 2200
    district = rng.choice([f"District {i}" for i in range(25)], n, p=np.r_[np.full(20, 0.0485), np.full(5, 0.006)])
    level = dict(zip(sorted(set(district)), rng.normal(0, 0.35, 25), strict=False))
    area = np.round(np.exp(rng.normal(4.7, 0.4, n)), 1)
    year = rng.integers(1890, 2024, n).astype(float)
    rooms = np.clip(np.round(area / 28 + rng.normal(0, 0.8, n)), 1, 12)
    log_price = 8.2 + 0.95 * np.log(area) + np.array([level[d] for d in district]) + 0.002 * (year - 1950)
    price = np.round(np.exp(log_price + rng.normal(0, 0.12, n)), -2)
    frame = pd.DataFrame(
        {
            "id": np.arange(10_000, 10_000 + n).astype(float),
            "district": district.astype(object),
            "living_area": without(area, 0.04, rng),
            "rooms": rooms,
            "built": without(year, 0.08, rng),
            "garden": _flags(np.full(n, 0.4), rng, "TRUE", "FALSE"),
            "price": price,
        }
    )
    train, test = divided(frame, _TEST)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        return {
            "id": [f"{value:.0f}" for value in part["id"]],
            "district": list(part["district"]),
            "living_area": ["" if np.isnan(value) else f"{value:,.1f}" for value in part["living_area"]],
            "rooms": [f"{value:.0f}" for value in part["rooms"]],
            "built": ["unknown" if np.isnan(value) else f"{value:.0f}" for value in part["built"]],
            "garden": list(part["garden"]),
            "price": [f"${value:,.0f}" for value in part["price"]],
        }

    written(folder / "houses.csv", cells(train))
    unlabelled = cells(test)
    del unlabelled["price"]
    written(folder / "for sale.csv", {"garden": unlabelled.pop("garden"), **unlabelled})
    return Stranger("houses.csv", "for sale.csv", "price", train.drop(columns="id"), test)


def churn(folder: Path, rng: np.random.Generator) -> Stranger:
    """Customers of a telephone company, as Parquet: blanks for a total that does not exist yet, an imbalanced label."""
    n = 2600
    months = np.floor(rng.exponential(30, n))
    contract = rng.choice(["month-to-month", "one year", "two years"], n, p=[0.55, 0.25, 0.2])
    fee = np.round(rng.uniform(18, 120, n), 2)
    support = rng.choice(["Yes", "No", "No internet"], n, p=[0.3, 0.5, 0.2])
    score = -1.4 + 1.3 * (contract == "month-to-month") - 0.05 * months + 0.012 * fee - 0.6 * (support == "Yes")
    frame = pd.DataFrame(
        {
            "customerID": [f"{rng.integers(1000, 9999)}-{''.join(rng.choice(list('ABCDEFGH'), 5))}" for _ in range(n)],
            "SeniorCitizen": (rng.random(n) < 0.16).astype(float),
            "tenure": months,
            "Contract": contract.astype(object),
            "TechSupport": support.astype(object),
            "MonthlyCharges": fee,
            "TotalCharges": np.where(months == 0, np.nan, np.round(fee * months, 2)),
            "Churn": _flags(_sigmoid(score), rng, "Yes", "No"),
        }
    )
    train, test = divided(frame, _TEST)

    def stored(part: pd.DataFrame) -> pd.DataFrame:
        totals = [" " if np.isnan(value) else str(value) for value in part["TotalCharges"]]
        return part.assign(SeniorCitizen=part["SeniorCitizen"].astype(int), TotalCharges=totals)

    stored(train).to_parquet(folder / "customers.parquet")
    stored(test).drop(columns="Churn").to_parquet(folder / "today.parquet")
    return Stranger("customers.parquet", "today.parquet", "Churn", train.drop(columns="customerID"), test)


_PAYEES = {
    "groceries": ["REWE SAGT DANKE", "ALDI SUED", "Edeka Müller", "LIDL DIENSTL"],
    "rent": ["Hausverwaltung Krämer Miete", "Miete Wohnung 12"],
    "salary": ["Gehalt ACME GmbH", "LOHN / GEHALT"],
    "travel": ["DB Vertrieb GmbH", "Lufthansa 220", "BVG Ticket"],
    "insurance": ["HUK-Coburg Beitrag", "Allianz Leben"],
}


def bank_statements(folder: Path, rng: np.random.Generator) -> Stranger:
    """A bank's export: UTF-16, a line `sep=;`, amounts such as -1.234,56, short texts that say most."""
    n = 1800
    names, sizes = list(_PAYEES), {"groceries": -45, "rent": -980, "salary": 2900, "travel": -70, "insurance": -60}
    category = rng.choice(names, n, p=[0.5, 0.08, 0.08, 0.22, 0.12])
    text = [f"{rng.choice(_PAYEES[name])} {rng.integers(100, 99999)}" for name in category]
    amount = np.round([sizes[name] * np.exp(rng.normal(0, 0.4)) for name in category], 2)
    day = pd.Timestamp("2022-03-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    frame = pd.DataFrame({"Buchung": day, "Text": text, "Betrag": amount, "Kategorie": category.astype(object)})
    train, test = divided(frame, _TEST)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        return {
            "Buchung": list(part["Buchung"].dt.strftime("%d.%m.%Y")),
            "Text": list(part["Text"]),
            "Betrag": [german(value) for value in part["Betrag"]],
            "Kategorie": list(part["Kategorie"]),
        }

    written(folder / "konto.csv", cells(train), ";", "utf-16", "sep=;\r\n", "\r\n")
    unlabelled = cells(test)
    del unlabelled["Kategorie"]
    written(folder / "mai.csv", unlabelled, ";", "utf-16", "sep=;\r\n", "\r\n")
    return Stranger("konto.csv", "mai.csv", "Kategorie", train, test, text=("Text",))


def library_loans(folder: Path, rng: np.random.Generator) -> Stranger:
    """A library's SQLite database; is a loan returned late?"""
    n = 2400
    genre = rng.choice(["novel", "crime", "travel", "children", "science", "music"], n)
    age = np.clip(np.round(rng.gamma(4, 10, n)), 6, 95)
    earlier = rng.poisson(1.2, n).astype(float)
    pages = np.round(rng.gamma(6, 50, n))
    month = rng.integers(1, 13, n)
    score = -1.6 + 0.55 * earlier + 0.002 * pages - 0.02 * age + 0.8 * (month == 7) - 0.7 * (genre == "children")
    frame = pd.DataFrame(
        {
            "loan": np.arange(n).astype(float),
            "lent": [f"2024-{m:02d}-{d:02d}" for m, d in zip(month, rng.integers(1, 28, n), strict=True)],
            "genre": genre.astype(object),
            "age": without(age, 0.06, rng),
            "late_before": earlier,
            "pages": pages,
            "late": _flags(_sigmoid(score), rng),
        }
    )
    train, test = divided(frame, _TEST)
    with sqlite3.connect(folder / "library.db") as database:
        train.to_sql("loans", database, index=False)
    test.drop(columns="late").to_csv(folder / "open.csv", index=False)
    clean = [part.assign(lent=pd.to_datetime(part["lent"])) for part in (train.drop(columns="loan"), test)]
    return Stranger('sql("sqlite:///library.db", "select * from loans")', "open.csv", "late", clean[0], clean[1])


def time_sheets(folder: Path, rng: np.random.Generator) -> Stranger:
    """Hours of projects by employee and day, with tabs, in one file for each quarter; how long does a task take?"""
    n = 2000
    employee = rng.choice([f"E{i:02d}" for i in range(30)], n)
    project = rng.choice(["Atlas", "Boreas", "Ceres", "internal"], n, p=[0.4, 0.3, 0.2, 0.1])
    weekday = rng.choice(["Mon", "Tue", "Wed", "Thu", "Fri"], n)
    start = rng.integers(6, 12, n) + rng.choice([0, 0.25, 0.5, 0.75], n)
    speed = dict(zip(sorted(set(employee)), rng.normal(0, 0.8, 30), strict=False))
    base = {"Atlas": 6.5, "Boreas": 4.0, "Ceres": 5.0, "internal": 1.5}
    hours = np.array([base[p] + speed[e] for p, e in zip(project, employee, strict=True)])
    hours = hours - 1.2 * (weekday == "Fri") - 0.3 * (start - 8) + rng.normal(0, 0.4, n)
    frame = pd.DataFrame(
        {
            "employee": employee.astype(object),
            "project": without(project, 0.02, rng),
            "weekday": weekday.astype(object),
            "start": start,
            "hours": np.round(np.clip(hours, 0.25, 12) * 4) / 4,
        }
    )
    train, test = divided(frame, _TEST)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        columns = {name: ["" if pd.isna(cell) else str(cell) for cell in part[name]] for name in part}
        columns["start"] = [f"{value:.2f}" for value in part["start"]]
        columns["hours"] = [f"{value:.2f}" for value in part["hours"]]
        return columns

    for i, chunk in enumerate(np.array_split(np.arange(len(train)), 4)):
        written(folder / f"sheet-q{i + 1}.tsv", cells(train.iloc[chunk]), "\t")
    unlabelled = cells(test)
    del unlabelled["hours"]
    written(folder / "planned.tsv", unlabelled, "\t")
    return Stranger("sheet-q*.tsv", "planned.tsv", "hours", train, test)
