"""The widths of texts, from a table, so that a picture needs no font to be laid out.

The letters are those of DejaVu Sans, which is wider than the sans-serif fonts of most systems: a text that fits here
fits with those too.
"""

import unicodedata
from functools import cache

# fmt: off
_REGULAR = (  # the advance of each character from the blank to `~`, in thousandths of the size of the font
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
)
_BOLD = (
    348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365, 696, 696, 696, 696, 696, 696, 696,
    696, 696, 696, 400, 400, 838, 838, 838, 580, 1000, 774, 762, 734, 830, 683, 683, 821, 837, 372, 372, 775, 637, 995,
    837, 850, 733, 850, 770, 720, 682, 812, 774, 1103, 771, 724, 725, 457, 365, 457, 838, 500, 500, 675, 716, 593, 716,
    678, 435, 716, 712, 343, 343, 665, 343, 1042, 712, 687, 716, 716, 493, 595, 478, 712, 652, 924, 645, 652, 582, 712,
    365, 712, 838,
)
# fmt: on
_FIRST = 32  # the blank
_OTHER, _WIDE = 700, 1000  # of letters that the table lacks: of alphabets, and of scripts with square letters


def width_of(text: str, is_bold: bool = False) -> float:
    """The width of a line of text in units of the font's size."""
    return sum(_advance(character, is_bold) for character in text) / 1000


@cache
def _advance(character: str, is_bold: bool) -> int:
    table, index = _BOLD if is_bold else _REGULAR, ord(character) - _FIRST
    if 0 <= index < len(table):
        return table[index]
    if unicodedata.combining(character):
        return 0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _OTHER
