"""Any vision tower of transformers (CLIP, SigLIP, DINOv2, ViT): image → feature tokens."""
