"""Zeroscope: conditioning → video."""
