"""Evaluation of folders of images: what `mirage evaluate` finds in them, and the study that it makes of them."""
