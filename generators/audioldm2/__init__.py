"""AudioLDM-2: conditioning → sound."""
