"""Whisper's encoder: audio → feature tokens."""
