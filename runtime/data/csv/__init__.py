"""Reads csv files in any dialect: its detection, records and rows, and checks that a faster parser agrees."""
