"""Judges that are programs of their own: data written in their layouts, with our splits."""
