"""Special forms: functions of the language that are neither operations nor blocks. table.py lists them."""
