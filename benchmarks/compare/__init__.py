"""One U-Net under every runtime that could carry it: each in a process of its own, watched from outside."""
