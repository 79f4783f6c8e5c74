def gallery_chapter(data, book): return None
def fidelity_chapter(inputs, data, summary, book): return None
def novelty_chapter(inputs, data, summary, book): return None
