"""Reads pictures: folders and tables of files, decoding, and random changes to the training part."""
