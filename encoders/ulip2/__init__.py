"""ULIP-2's PointBERT: point cloud → feature tokens."""
