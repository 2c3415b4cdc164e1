"""A stack built from its config: its parts, the backbone's stage, and adapter bundles."""
