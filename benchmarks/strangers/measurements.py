"""Sensor logs, survey answers, medical records, energy by hour and site."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.strangers.stranger import Stranger, divided, without, written

_TEST = 400


def sensor_log(folder: Path, rng: np.random.Generator) -> Stranger:
    """A machine's log: comments, blank lines, NaN and an infinite reading; is a fault coming?"""
    n = 2400
    time = pd.Timestamp("2024-02-01 06:00") + pd.to_timedelta(np.arange(n) * 5, "min")
    load = 50 + 30 * np.sin(np.arange(n) / 90) + rng.normal(0, 6, n)
    vibration = np.exp(rng.normal(-1, 0.5, n)) * (1 + load / 100)
    temperature = 40 + 0.4 * load + 8 * vibration + rng.normal(0, 2, n)
    is_fault = temperature + 25 * vibration + rng.normal(0, 6, n) > 103
    frame = pd.DataFrame(
        {
            "time": time,
            "load": load.round(1),
            "vibration": without(vibration.round(4), 0.03, rng),
            "temperature": without(temperature.round(2), 0.05, rng),
            "firmware": np.full(n, 2.4),
            "state": np.where(is_fault, "fault", "ok").astype(object),
        }
    )
    train, test = divided(frame, _TEST)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        return {
            "time": list(part["time"].dt.strftime("%Y-%m-%d %H:%M:%S")),
            **{
                name: ["NaN" if np.isnan(value) else str(value) for value in part[name]]
                for name in ("load", "vibration", "temperature", "firmware")
            },
            "state": list(part["state"]),
        }

    written(folder / "machine.log.csv", cells(train), before="# machine 7, hall B\n# times are UTC\n")
    text = (folder / "machine.log.csv").read_text().splitlines(keepends=True)
    with_blanks = "".join(line + "\n" * (i % 500 == 499) for i, line in enumerate(text))
    (folder / "machine.log.csv").write_text(with_blanks)
    unlabelled = cells(test)
    del unlabelled["state"]
    written(folder / "tonight.csv", unlabelled, before="# machine 7, hall B\n")
    return Stranger("machine.log.csv", "tonight.csv", "state", train, test)


def survey(folder: Path, rng: np.random.Generator) -> Stranger:
    """An Excel sheet of answers in words, with several marks for no answer; how satisfied is somebody?"""
    n = 1600
    words = np.array(["not at all", "a little", "somewhat", "very"], object)
    mood = rng.normal(0, 1, n)

    def answers(weight: float) -> np.ndarray:
        level = np.clip(np.round(1.5 + weight * mood + rng.normal(0, 0.7, n)), 0, 3).astype(int)
        return words[level]

    satisfied = np.clip(np.round(3 + 1.1 * mood + rng.normal(0, 0.5, n)), 1, 5).astype(int).astype(str)
    frame = pd.DataFrame(
        {
            "Respondent": np.arange(1, n + 1).astype(float),
            "Age group": rng.choice(["18-29", "30-44", "45-59", "60+"], n).astype(object),
            "Price is fair": without(answers(0.9), 0.1, rng),
            "Easy to use": without(answers(0.8), 0.05, rng),
            "Would recommend": without(answers(1.2), 0.02, rng),
            "Satisfaction": satisfied.astype(object),
        }
    )
    train, test = divided(frame, _TEST)
    marks = ["n/a", "no answer", ""]

    def stored(part: pd.DataFrame) -> pd.DataFrame:
        shown = part.copy()
        for name in ("Price is fair", "Easy to use", "Would recommend"):
            column = [rng.choice(marks) if pd.isna(cell) else cell for cell in part[name]]
            shown[name] = pd.Series(column, dtype=object)
        return shown.assign(Satisfaction=shown["Satisfaction"].astype(int))

    stored(train).to_excel(folder / "answers.xlsx", index=False)
    stored(test).drop(columns="Satisfaction").to_excel(folder / "second round.xlsx", index=False)
    return Stranger("answers.xlsx", "second round.xlsx", "Satisfaction", train.drop(columns="Respondent"), test)


def medical(folder: Path, rng: np.random.Generator) -> Stranger:
    """Records of patients without a header of words for the codes, `?` where a value is missing."""
    n = 1200
    age = np.clip(np.round(rng.normal(54, 10, n)), 25, 85)
    pressure = np.round(rng.normal(131, 17, n))
    cholesterol = np.round(rng.normal(246, 48, n))
    pain = rng.choice(["1", "2", "3", "4"], n, p=[0.1, 0.2, 0.25, 0.45])
    rate = np.round(200 - 0.8 * age + rng.normal(0, 18, n))
    score = -1.5 + 1.8 * (pain == "4") - 0.035 * (rate - 150) + 0.04 * (age - 54) + 0.008 * (cholesterol - 246)
    frame = pd.DataFrame(
        {
            "age": age,
            "sex": rng.choice(["f", "m"], n).astype(object),
            "pain": without(pain, 0.03, rng),
            "pressure": without(pressure, 0.05, rng),
            "cholesterol": without(cholesterol, 0.12, rng),
            "rate": rate,
            "vessels": without(rng.integers(0, 4, n).astype(float), 0.04, rng),
            "disease": np.where(rng.random(n) < 1 / (1 + np.exp(-score)), "1", "0").astype(object),
        }
    )
    train, test = divided(frame, 300)

    def cells(part: pd.DataFrame) -> dict[str, list[str]]:
        def shown(cell: object) -> str:
            if pd.isna(cell):
                return "?"
            return f"{cell:g}" if isinstance(cell, float) else str(cell)

        return {name: [shown(cell) for cell in part[name]] for name in part}

    written(folder / "heart.csv", cells(train))
    unlabelled = cells(test)
    del unlabelled["disease"]
    written(folder / "ward 3.csv", unlabelled)
    return Stranger("heart.csv", "ward 3.csv", "disease", train, test)


def energy(folder: Path, rng: np.random.Generator) -> Stranger:
    """The load of four sites by the hour, in kWh, compressed; the site says how large it is."""
    hours, sites = 600, {"north": 120.0, "south": 340.0, "mill": 900.0, "office": 60.0}
    time = pd.Timestamp("2024-05-01") + pd.to_timedelta(np.arange(hours), "h")
    weekday, hour = np.asarray(time.dayofweek), np.asarray(time.hour)
    parts = []
    for site, size in sites.items():
        outside = 15 + 8 * np.sin((hour - 9) / 24 * 2 * np.pi) + rng.normal(0, 1.5, hours)
        day = 1 + 0.5 * np.exp(-(((hour - 13) / 5) ** 2)) * (weekday < 5)
        load = size * day * (1 + 0.01 * (outside - 15)) * np.exp(rng.normal(0, 0.04, hours))
        parts.append(
            pd.DataFrame(
                {
                    "site": site,
                    "hour": hour.astype(float),
                    "weekday": np.array(["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"], object)[weekday],
                    "outside": without(outside.round(1), 0.03, rng),
                    "kwh": load.round(1),
                }
            )
        )
    frame = pd.concat(parts).sample(frac=1, random_state=7)
    train, test = divided(frame, _TEST)
    train.to_csv(folder / "energy.csv.gz", index=False)
    test.drop(columns="kwh").to_csv(folder / "june.csv", index=False)
    return Stranger("energy.csv.gz", "june.csv", "kwh", train, test)
