"""Evaluation of folders of images: what `mirage evaluate` finds in them, and the study it makes of them."""
