"""Warnings about data that is read and valid, but does not suit the model."""
