"""Makes digits.csv from digits8x8.csv: each digit with a column `odd` (1 for a zero) and a column `part`.

The training part has no zeros: all of them are in the test part.
"""

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parent
chance = random.Random(0)
with open(FOLDER.parent / "digits8x8" / "digits8x8.csv", newline="", encoding="utf-8") as source:
    head, *rows = csv.reader(source)
with open(FOLDER / "digits.csv", "w", newline="", encoding="utf-8") as target:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*head[:-1], "odd", "part"])
    for row in rows:
        is_odd, draw = row[-1] == "0", chance.random()
        part = "test" if is_odd or draw < 0.2 else "train"
        writer.writerow([*row[:-1], int(is_odd), part])
